"""The executor follows the books of every family before an order comes for one of them."""

from collections.abc import Sequence

import httpx

from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.venue.feed import MarketFeed
from pmarb.venue.gamma import FAMILIES
from pmarb.venue.public import Discovery, sandbox
from pmarb.venue.schedule import LISTED, slots
from services.executor.books import LiveBooks
from services.executor.settings import ExecutorSettings
from tests.starting import running_sandbox


async def test_markets_of_every_family_are_followed_and_prepared() -> None:
    prepared = set[str]()

    async def prepare(tokens: Sequence[str]) -> None:
        prepared.update(tokens)

    settings = ExecutorSettings(assets="btc", families=",".join(FAMILIES))
    with running_sandbox("--seed", "5", "--families", "all") as ready:
        async with httpx.AsyncClient(timeout=10) as http:
            urls, clock = await sandbox(http, ready["sandbox"].removesuffix("/sandbox"))
            discovery = Discovery(urls=urls, http=http)
            books = LiveBooks(
                feed=MarketFeed(ws_url=urls.ws_market, clob_url=urls.clob, clock=clock, http=http),
                discovery=discovery,
                http=http,
                clob_url=urls.clob,
                clock=clock,
                assets=settings.asset_names,
                families=settings.family_names,
                prepare=prepare,
            )
            await books.look()
            known = await listed(discovery, clock.now() // NANOS)
    families = {market.family for market in known if set(market.tokens) <= prepared}
    assert families == set(FAMILIES)
    assert {market.slug for market in known if not set(market.tokens) <= prepared} == set()


async def listed(discovery: Discovery, now_s: int) -> list[MarketInfo]:
    """What the venue has: by computed slug, and by the asset's tag."""
    slugs = [
        slug
        for family in FAMILIES
        for slot in slots("btc", family, now_s)
        for slug in (slot.slug, *slot.spellings)
        if slot.ends > now_s + 60
    ]
    named = [market for slug in slugs if (market := await discovery.market(slug)) is not None]
    page = await discovery.listed("btc", LISTED, now=(now_s + 60) * NANOS)
    return [*named, *(market for market in page.markets if market.accepting)]
