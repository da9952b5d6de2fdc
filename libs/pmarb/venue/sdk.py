"""Every private surface of the official client that we lean on, in one place, with a contract test per release.

The client is pinned exactly. Its hosts cannot be redirected publicly; its `create` may deploy a wallet through the
relayer; it signs in one step with drafting, slowly, without telling the order's hash; it does not refresh the venue's
balance cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Final, cast

from coincurve import PrivateKey
from polymarket._internal.actions.account import build_update_balance_allowance_request
from polymarket._internal.actions.orders import limit, market
from polymarket._internal.actions.orders.orders import create_signed_order, create_unsigned_order
from polymarket._internal.actions.orders.types import OrderDraft
from polymarket._internal.actions.orders.types import UnsignedOrder as Unsigned
from polymarket._internal.actions.relayer.calls import TransactionCall, ctf_redeem_positions_call
from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment
from polymarket._internal.wallet import signature_type_for
from polymarket.auth import RelayerApiKey
from polymarket.clients.async_secure import AsyncSecureClient
from polymarket.environments import Environment
from polymarket.models.clob import ApiKeyCreds
from polymarket.models.clob.orders import MarketOrderType, SignedOrder
from polymarket.models.types import ClobAssetId
from polymarket.types import EvmAddress, HexString

from pmarb.domain.fees import FeeSchedule
from pmarb.domain.values import Side
from pmarb.venue import departure, eip712
from pmarb.venue.orderline import OrderLine

PINNED: Final = "0.14.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Where a venue lives. `PRODUCTION` or what a sandbox says of itself."""

    clob: str = PRODUCTION_CONFIG.clob_url
    gamma: str = PRODUCTION_CONFIG.gamma_url
    data: str = PRODUCTION_CONFIG.data_url
    relayer: str = PRODUCTION_CONFIG.relayer_url
    rpc: str = PRODUCTION_CONFIG.rpc_url
    ws_market: str = PRODUCTION_CONFIG.clob_market_ws_url
    ws_user: str = PRODUCTION_CONFIG.clob_user_ws_url
    rtds: str = PRODUCTION_CONFIG.rtds_ws_url


PRODUCTION: Final = Urls()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTerms:
    """What signing for a token depends on, and what its taker pays."""

    tick: Decimal
    neg_risk: bool
    fees: FeeSchedule


def environment(urls: Urls) -> Environment:
    """An environment of the official client whose every host is one of `urls`: nothing else is ever called."""
    config = replace(
        PRODUCTION_CONFIG,
        clob_url=urls.clob,
        gamma_url=urls.gamma,
        data_url=urls.data,
        relayer_url=urls.relayer,
        rpc_url=urls.rpc,
        rfq_url=urls.clob,
        clob_market_ws_url=urls.ws_market,
        clob_user_ws_url=urls.ws_user,
        rtds_ws_url=urls.rtds,
        sports_ws_url=urls.ws_market,
        realtime_ws_url=urls.ws_market,
        builder_gateway_url=urls.clob,
        collateral_return_url=urls.clob,
        perps_url=urls.clob,
        perps_ws_url=urls.ws_market,
        rfq_quoter_ws_url=urls.ws_market,
    )
    return create_environment(name="pm-arb", config=config)


async def connect(
    urls: Urls, *, private_key: str, wallet: str | None, credentials: ApiKeyCreds | None, relayer_key: str | None = None
) -> AsyncSecureClient:
    """A client that has sent nothing but, without `credentials`, the login that derives them.

    The public `create` would also deploy a missing wallet: a person does that, not a trader that starts.
    `relayer_key` is what redeeming needs unless the wallet is the signer's own (an EOA).
    """
    relayer = None
    if relayer_key:
        signer = PrivateKey.from_hex(private_key.removeprefix("0x"))
        relayer = RelayerApiKey(key=relayer_key, address=eip712.address(signer))
    client = await AsyncSecureClient._create(
        private_key=private_key,
        wallet=wallet,
        environment=environment(urls),
        credentials=credentials,
        api_key=relayer,
        validate_credentials=False,
    )
    http = client._ctx.secure_clob._client
    http.event_hooks = {"request": [departure.hold]}
    http._transport = OrderLine(http._transport)
    return client


async def ready(client: AsyncSecureClient) -> None:
    """Have a connection open on which the next order can leave."""
    http = client._ctx.secure_clob._client
    line = http._transport_for_url(http.base_url)
    if isinstance(line, OrderLine):  # Else the environment names a proxy, and all goes through that
        await line.ready(http.base_url)


def signature_type(client: AsyncSecureClient) -> int:
    """0 EOA, 1 proxy, 2 Safe, 3 deposit wallet (venue.md 2.3)."""
    return signature_type_for(client.wallet_type)


def contracts(client: AsyncSecureClient) -> dict[str, str]:
    """What this release takes for the venue's contracts."""
    config = client._ctx.environment_config
    return {
        "exchange": str(config.standard_exchange),
        "neg_risk_exchange": str(config.neg_risk_exchange),
        "collateral": str(config.collateral_token),
        "conditional_tokens": str(config.conditional_tokens),
    }


async def terms(client: AsyncSecureClient, token: str) -> MarketTerms:
    """The terms of the token's market, asked of the CLOB at most every ten minutes."""
    ctx = client._ctx
    info = await ctx.order_metadata.resolve_market(ctx, token_id=cast(ClobAssetId, token))
    return MarketTerms(
        tick=info.tick_size,
        neg_risk=info.neg_risk,
        fees=FeeSchedule(info.fee_info.rate, info.fee_info.exponent),
    )


async def refresh_balance(client: AsyncSecureClient, *, token: str | None = None) -> None:
    """Make the venue look at the chain again: its balances are a cache (venue.md 7). pUSD, or shares of `token`."""
    path, params = build_update_balance_allowance_request(
        asset_type="COLLATERAL" if token is None else "CONDITIONAL",
        asset_id=token,
        signature_type=signature_type(client),
    )
    await client._ctx.secure_clob.get_json(path, params=params)


async def redeem(client: AsyncSecureClient, conditions: Sequence[str]) -> str:
    """Redeem every outcome held of these resolved markets and wait; the transaction's hash.

    One transaction for all of them, for the relayer takes few; a wallet that pays its own way sends one each.
    """
    contexts = [await client._resolve_market_position_context(condition_id=each, closed=True) for each in conditions]
    if signature_type(client) == 0 or any(each.protocol != "ctf" for each in contexts):
        return ",".join([await _redeemed(client, each) for each in conditions])
    calls: list[TransactionCall] = [
        ctf_redeem_positions_call(
            ctf=cast(EvmAddress, each.adapter_address),
            collateral=cast(EvmAddress, client._ctx.environment_config.collateral_token),
            condition_id=each.condition_id,
        )
        for each in contexts
    ]
    handle = await client.execute_transaction(calls=calls, metadata=f"Redeem {len(calls)} markets")
    return str((await handle.wait()).transaction_hash)


async def merge(client: AsyncSecureClient, units: Mapping[str, int]) -> str:
    """Merge so many millionths of a pair of each market and wait; the transaction's hash.

    One transaction for all of them; a wallet that pays its own way sends one each.
    """
    if signature_type(client) == 0:
        return ",".join([await _merged(client, condition, amount) for condition, amount in units.items()])
    handle = await client.merge_multiple_positions(
        positions=[{"condition_id": condition, "amount": amount} for condition, amount in units.items()]
    )
    return str((await handle.wait()).transaction_hash)


async def _merged(client: AsyncSecureClient, condition: str, amount: int) -> str:
    return str((await (await client.merge_positions(condition_id=condition, amount=amount)).wait()).transaction_hash)


async def _redeemed(client: AsyncSecureClient, condition: str) -> str:
    return str((await (await client.redeem_positions(condition_id=condition)).wait()).transaction_hash)


async def draft_limit(
    client: AsyncSecureClient, *, token: str, price: Decimal, shares: Decimal, side: Side
) -> Unsigned:
    """A GTC order, rounded by the client's own table, not signed."""
    params = limit.validate_limit_order_params(asset_id=token, price=price, size=shares, side=side.value)
    return _unsigned(client, await limit.prepare_limit_order_draft(client._ctx, params))


async def draft_market_buy(
    client: AsyncSecureClient, *, token: str, usd: Decimal, max_price: Decimal, kind: MarketOrderType
) -> Unsigned:
    """A FAK or FOK that spends `usd` at up to `max_price`, rounded by the client's own table, not signed."""
    params = market.validate_market_order_params(
        asset_id=token, side="BUY", amount=usd, max_price=max_price, order_type=kind
    )
    return _unsigned(client, await market.prepare_market_order_draft(client._ctx, params))


async def draft_market_sell(
    client: AsyncSecureClient, *, token: str, shares: Decimal, min_price: Decimal, kind: MarketOrderType
) -> Unsigned:
    """A FAK or FOK that sells `shares` at no less than `min_price`, not signed."""
    params = market.validate_market_order_params(
        asset_id=token, side="SELL", shares=shares, min_price=min_price, order_type=kind
    )
    return _unsigned(client, await market.prepare_market_order_draft(client._ctx, params))


def domain(order: Unsigned) -> bytes:
    """The domain the order is signed under."""
    return _domain(str(order.exchange_address), order.protocol_version)


def seal(client: AsyncSecureClient, order: Unsigned, key: PrivateKey, *, contents: bytes) -> SignedOrder:
    """Sign the drafted order as the client would, and give it the client's form.

    Raises:
        ValueError: the client trades through a session key, whose signatures are wrapped once more.
    """
    if client._ctx.signer_type != "OWNER":
        raise ValueError(f"the signer is a {client._ctx.signer_type}, only an owner's key is supported")
    signed = eip712.signature(key, cast(eip712.UnsignedOrder, order), domain=domain(order), contents=contents)
    return create_signed_order(order, HexString(signed))


@cache
def _domain(exchange: str, version: str) -> bytes:
    return eip712.domain_separator(exchange=exchange, version=version)


def _unsigned(client: AsyncSecureClient, drafted: OrderDraft) -> Unsigned:
    return create_unsigned_order(drafted, wallet=client._ctx.wallet, wallet_type=client._ctx.wallet_type)
