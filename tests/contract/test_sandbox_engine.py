"""What the venue refuses for a while: restarts, post-only, cancel-only, closed-only accounts, stale balances."""

import asyncio
from decimal import Decimal

import httpx
import pytest

from tests import sandboxes
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

polymarket = pytest.importorskip("polymarket")


@pytest.fixture(scope="module")
def ready():
    with running_sandbox("--scenario", "instant", "--speed", "10", "--families", "5m,15m,sports") as made:
        yield made


@pytest.fixture
async def trader(ready):
    """(client, account) with credentials."""
    account = sandboxes.fresh_account(ready, 3)
    client = await polymarket.AsyncSecureClient.create(
        private_key=account["private_key"], wallet=account["wallet"], environment=sandboxes.environment(ready)
    )
    yield client, account
    await client.close()


async def limit(client, token: str, *, price: str = "0.2", post_only: bool = False):
    order = await client.create_limit_order(asset_id=token, side="BUY", price=price, size="10", post_only=post_only)
    return await client.post_order(order)


async def test_a_restart_is_followed_by_two_minutes_of_post_only(ready, trader):
    client, _ = trader
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    resting = await limit(client, token)
    sandboxes.control(ready, "/engine", mode="restart", seconds=10)
    for call in (limit(client, token), client.cancel_order(order_id=resting.order_id)):
        with pytest.raises(polymarket.RequestRejectedError) as caught:
            await call
        assert (caught.value.status, caught.value.restriction) == (425, "restarting")
    await asyncio.sleep(1.1)
    with pytest.raises(polymarket.RequestRejectedError) as caught:
        await limit(client, token)
    assert (caught.value.status, caught.value.code, caught.value.restriction) == (503, "post_only_mode", "post_only")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 120
    assert (await limit(client, token, post_only=True)).status == "live"
    assert len((await client.cancel_all()).canceled) == 2
    sandboxes.control(ready, "/engine", mode="running")
    assert (await limit(client, token)).status == "live"


async def test_cancel_only_and_disabled(ready, trader):
    client, _ = trader
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    resting = await limit(client, token)
    sandboxes.control(ready, "/engine", mode="cancel_only", seconds=600)
    with pytest.raises(polymarket.RequestRejectedError) as caught:
        await limit(client, token, post_only=True)
    assert (caught.value.status, caught.value.restriction) == (503, "cancel_only")
    assert (await client.cancel_order(order_id=resting.order_id)).canceled
    sandboxes.control(ready, "/engine", mode="disabled", seconds=600)
    with pytest.raises(polymarket.RequestRejectedError, match="currently disabled"):
        await client.cancel_order(order_id=resting.order_id)
    sandboxes.control(ready, "/engine", mode="running")


async def test_a_closed_only_account_may_only_reduce(ready, trader):
    client, account = trader
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.6")
    bought = await client.post_order(order)
    assert bought.ok
    assert sandboxes.control(ready, f"/accounts/{account['address']}", closed_only=True)["closed_only"]
    assert await client.get_closed_only_mode()
    with pytest.raises(polymarket.RequestRejectedError, match="closed only mode"):
        await limit(client, token)
    order = await client.create_market_order(asset_id=token, side="SELL", shares="5", min_price="0.3")
    assert (await client.post_order(order)).ok
    sandboxes.control(ready, f"/accounts/{account['address']}", banned=True)
    with pytest.raises(polymarket.RequestRejectedError, match="address banned"):
        await client.post_order(await client.create_limit_order(asset_id=token, side="SELL", price="0.9", size="5"))


async def test_what_was_bought_cannot_be_sold_before_the_balance_is_refreshed(ready, trader):
    client, account = trader
    sandboxes.control(ready, "/knobs", stale_balances=1)
    try:
        token = sandboxes.tokens(sandboxes.next_window(ready))[0]
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.6")
        assert (await client.post_order(order)).ok
        selling = {"asset_id": token, "side": "SELL", "shares": "5", "min_price": "0.3"}
        with pytest.raises(polymarket.RequestRejectedError, match="not enough balance"):
            await client.post_order(await client.create_market_order(**selling))
        assert (await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=token)).balance == 0
        await refresh(ready, account, token)
        assert (await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=token)).balance > 0
        assert (await client.post_order(await client.create_market_order(**selling))).ok
        cash = (await client.get_balance_allowance(asset_type="COLLATERAL")).balance
        assert Decimal(cash) / 10**6 < Decimal(sandboxes.truth(ready, account)["cash"])
    finally:
        sandboxes.control(ready, "/knobs", stale_balances=0)


async def refresh(ready, account, token: str) -> None:
    """The call of the other official client: this one has no method for it."""
    clients = pytest.importorskip("py_clob_client_v2.client")
    types = pytest.importorskip("py_clob_client_v2.clob_types")
    other = clients.ClobClient(
        ready["clob"], 137, key=account["private_key"], signature_type=3, funder=account["wallet"]
    )
    other.set_api_creds(types.ApiCreds(account["api_key"], account["secret"], account["passphrase"]))
    wanted = types.BalanceAllowanceParams(asset_type="CONDITIONAL", token_id=token)
    await asyncio.to_thread(other.update_balance_allowance, wanted)
    sandboxes.renew_second_client()


async def test_a_game_delays_takers_and_tells_the_match_later(ready, trader):
    from polymarket.streams import UserSpec

    client, account = trader
    game = next(each for each in sandboxes.gamma(ready, "/markets", limit=500) if each.get("secondsDelay"))
    assert (game["clearBookOnStart"], game["secondsDelay"]) == (True, 3)
    token = sandboxes.tokens(game)[0]
    async with await client.subscribe(UserSpec()) as handle:
        await asyncio.sleep(0.5)
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.9")
        reply = await client.post_order(order)
        assert (reply.status, reply.making_amount) == ("delayed", Decimal(0))
        assert reply.order_id in (await client.cancel_order(order_id=reply.order_id)).not_canceled
        statuses: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in handle:
                if event.type == "order" and event.payload.id == reply.order_id:
                    statuses.append(str(event.payload.status))
                    if "MATCHED" in statuses[-1]:
                        break
        missed = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.02")
        assert (await client.post_order(missed)).status == "delayed"
        async with asyncio.timeout(PATIENCE_S):
            async for event in handle:
                if (
                    event.type == "order"
                    and event.payload.id != reply.order_id
                    and "CANCELED" in str(event.payload.status)
                ):
                    break
    assert statuses[0] == "DELAYED"
    assert len(sandboxes.truth(ready, account)["trades"]) == 1


def test_the_place_is_named(ready):
    place = httpx.get(f"{ready['web']}/api/geoblock").json()
    assert set(place) == {"blocked", "ip", "country", "region"}
