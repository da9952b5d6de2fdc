"""What the executor is made of, from its settings. The mode is read here and nowhere else."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import httpx

from pmarb import logs
from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import modes
from pmarb.db.foreign import ForeignMovements
from pmarb.db.gate import writer
from pmarb.db.ledger import LedgerBook
from pmarb.db.merges import MergeBook
from pmarb.db.orders import Orders
from pmarb.db.pool import Pool, Unavailable, connect, open_pool
from pmarb.db.receipts import Receipts
from pmarb.db.sets import SetBook
from pmarb.db.state import StateRow
from pmarb.runtime import Heartbeat, until_stopped
from pmarb.settings import WrongSettings
from pmarb.venue.outcomes import PublicRecords
from pmarb.venue.paper import PaperVenue
from pmarb.venue.port import Sightings, TradingVenue, VenueUnavailable
from pmarb.venue.public import Discovery, MarketFeed, VenueUrls
from pmarb.venue.trading import SdkVenue, WrongWallet
from pmarb.venue.userstream import UserStream
from services.executor.books import LiveBooks
from services.executor.brake import Brake
from services.executor.contracts import Contracts
from services.executor.endings import SetEnder
from services.executor.gatekeeper import Gatekeeper, admitted
from services.executor.hotpath import HotPath
from services.executor.inspection import Inspection
from services.executor.papermemory import LedgerMemory
from services.executor.place import Place, find, wallet_of
from services.executor.posting import Posting
from services.executor.pulse import Pulse
from services.executor.reconcile import Reconciler
from services.executor.rehearsal import Rehearsal
from services.executor.service import Executor, Follower
from services.executor.setpath import SetPath
from services.executor.settings import ExecutorSettings
from services.executor.shop import Shop, persistently

log = logs.get(__name__)

CONNECTIONS: Final = 6
Prepare = Callable[[Sequence[str]], Awaitable[None]]


class Listening:
    """The user stream as a follower: it ends when told to."""

    def __init__(self, stream: UserStream) -> None:
        self._stream = stream

    async def run(self, stop: asyncio.Event) -> None:
        await until_stopped(self._stream.run(), stop)


async def build(settings: ExecutorSettings) -> Executor:
    """Everything connected; each server that is away is waited for with a line in the log.

    Raises:
        WrongSettings: a kill file could not be looked for, or the venue cannot use the wallet.
    """
    _look_for(settings.kill_file)
    http = httpx.AsyncClient(timeout=5.0)
    pool = await persistently("postgres", Unavailable, lambda: open_pool(settings.dsn, size=CONNECTIONS))
    watch, opening = await admitted(settings, settings.clock())
    orders = Orders(pool, opening=opening)
    bus = RedisBus(settings.redis_url)
    await persistently("redis", BusUnavailable, bus.ping)
    place = await persistently("venue", VenueUnavailable, lambda: find(settings, http))
    if settings.execution == "paper":
        return await _paper(settings, place, bus, pool, orders, http)
    wallet = wallet_of(settings, place)
    try:
        venue = await persistently(
            "venue",
            VenueUnavailable,
            lambda: SdkVenue.connect(place.urls, wallet, place.clock, answer_within=settings.answer_within_s),
        )
    except WrongWallet as error:
        sys.stderr.write(f"error: the venue cannot use this wallet: {error} (WALLET_PRIVATE_KEY, WALLET_ADDRESS)\n")
        raise WrongSettings(2) from None
    if watch is not None:
        await _take_over(settings, venue)
    log.info("trading_as", wallet=venue.wallet, venue=settings.venue, execution=settings.execution)
    books = _books(settings, place, http, venue.prepare)
    rehearsal = Rehearsal(venue, orders, books, place.clock)
    shop = _shop(place, bus, pool, orders, venue)
    watching: tuple[Follower, ...] = (rehearsal, Contracts(shop, venue, Inspection(shop)))
    if watch is not None:
        watching = (*watching, Gatekeeper(shop, watch))
    return _executor(
        settings,
        shop,
        pool,
        books,
        lambda wake, sightings: (books, Listening(venue.user_stream(wake, sightings)), *watching),
    )


def _look_for(kill_file: Path | None) -> None:
    """Not a check of the settings, which the kill without a bus reads, too."""
    try:
        if kill_file is not None:
            kill_file.exists()
    except OSError as error:
        sys.stderr.write(
            f"error: KILL_FILE was '{kill_file}'; it cannot be looked for, so it could kill nothing: {error.strerror}"
            " (its folder must be open to this process's user)\n"
        )
        raise WrongSettings(2) from None


async def _take_over(settings: ExecutorSettings, venue: SdkVenue) -> None:
    """The ledger of the paper trading goes on with the wallet's own money."""
    cash, now = await persistently("venue", VenueUnavailable, venue.cash), settings.clock().now()

    def book() -> Decimal | None:
        with writer(settings.dsn) as connection:
            modes.enter(connection, venue=settings.venue, execution=settings.execution, now_real=now)
            return modes.take_over(connection, cash=cash, now=now)

    booked = await asyncio.to_thread(book)
    if booked is not None:
        log.warning("wallet_taken_over", cash=str(cash), booked=str(booked))


async def _paper(
    settings: ExecutorSettings, place: Place, bus: RedisBus, pool: Pool, orders: Orders, http: httpx.AsyncClient
) -> Executor:
    books = _books(settings, place, http, _nothing)
    venue = PaperVenue(
        look=books.book,
        memory=LedgerMemory(orders, LedgerBook(pool), MergeBook(pool)),
        ended=PublicRecords(gamma_url=place.urls.gamma, data_url=place.urls.data),
        clock=place.clock,
        capital=settings.bankroll_usd,
    )
    log.info("trading_on_paper", venue=settings.venue, capital=str(settings.bankroll_usd))
    shop = _shop(place, bus, pool, orders, venue)
    return _executor(settings, shop, pool, books, lambda _wake, _sightings: (books,))


def _shop(place: Place, bus: RedisBus, pool: Pool, orders: Orders, venue: TradingVenue) -> Shop:
    return Shop(
        bus=bus,
        clock=place.clock,
        venue=venue,
        orders=orders,
        ledger=LedgerBook(pool),
        merges=MergeBook(pool),
        sets=SetBook(pool),
        foreign=ForeignMovements(pool),
        state=StateRow(pool),
        receipts=Receipts(pool),
    )


def _executor(
    settings: ExecutorSettings,
    shop: Shop,
    pool: Pool,
    books: LiveBooks,
    followers: Callable[[Callable[[], None], Sightings], tuple[Follower, ...]],
) -> Executor:
    sightings = Sightings()
    posting = Posting(shop)
    ender = SetEnder(shop, books, posting)
    sets = SetPath(shop, books, posting, ender, max_skew=settings.max_leg_skew_ms * 1_000_000)
    reconciler = Reconciler(shop, lambda: connect(settings.dsn), sightings, ender)
    pulse = Pulse(shop, books, reconciler.inspection, leads=lambda: reconciler.leading)
    return Executor(
        shop=shop,
        hot_path=HotPath(shop, books, posting, sets),
        reconciler=reconciler,
        brake=Brake(shop, kill_file=settings.kill_file),
        followers=(*followers(reconciler.wake, sightings), pulse),
        heartbeat=Heartbeat(bus=shop.bus, service="executor", path=settings.heartbeat_file),
        pool=pool,
    )


def _books(settings: ExecutorSettings, place: Place, http: httpx.AsyncClient, prepare: Prepare) -> LiveBooks:
    urls = place.urls
    public = VenueUrls(
        gamma=urls.gamma,
        clob=urls.clob,
        ws_market=urls.ws_market,
        ws_user=urls.ws_user,
        rtds=urls.rtds,
        spot_ws="",
        spot_rest="",
    )
    return LiveBooks(
        feed=MarketFeed(ws_url=urls.ws_market, clob_url=urls.clob, clock=place.clock, http=http),
        discovery=Discovery(urls=public, http=http),
        http=http,
        clob_url=urls.clob,
        clock=place.clock,
        assets=settings.asset_names,
        families=settings.family_names,
        prepare=prepare,
    )


async def _nothing(_tokens: Sequence[str]) -> None:
    """Paper has nothing to sign, so nothing to prepare."""
