"""Recorded markets: a tape's books shown as they were, with clients' orders matched against them.

A tape is zstd-compressed JSON lines: a header, then `{"t", "src", "msg"}` in order of `t` (nanoseconds UTC), `msg` in
the venue's own wire shape; keys that begin with `_` are notes and are never shown. One recorded token leads each
market, its opposite is the mirror. What a client takes from a level is gone until the tape next speaks of that level.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import zstandard

from services.sandbox.accounts import Account
from services.sandbox.agenda import Agenda
from services.sandbox.book import BookOrder, Side
from services.sandbox.eventlog import log_event
from services.sandbox.exchange import Exchange
from services.sandbox.fees import FeeSchedule
from services.sandbox.house import PREFIX
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.prices import ASSETS
from services.sandbox.rtds import Rtds
from services.sandbox.settlement import Settlement
from services.sandbox.spot import Spot
from services.sandbox.terms import Rule, Terms

FORMAT = 1
# Recordings of tops without sizes get this many shares a level.
UNKNOWN_SIZE = "100"
NEVER_S = 1e12


class TapeFile:
    """A tape on disk. Raises ValueError when it is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            header = next(self._objects(), None)
        except (OSError, zstandard.ZstdError, orjson.JSONDecodeError) as error:
            raise ValueError(f"{path}: {error}") from error
        if not isinstance(header, dict) or header.get("tape") != FORMAT or not isinstance(header.get("first_t"), int):
            raise ValueError(f"{path}: the first line is no header of a tape of format {FORMAT}")
        self.header = header
        self.first_ns: int = header["first_t"]

    def lines(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """(time, source, message) without the notes."""
        objects = self._objects()
        next(objects)
        for line in objects:
            yield line["t"], line["src"], without_notes(line["msg"])

    def _objects(self) -> Iterator[Any]:
        with Path(self.path).open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as data:
            for line in io.BufferedReader(data):
                yield orjson.loads(line)


def without_notes(message: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if not key.startswith("_")}


@dataclass(slots=True)
class Shown:
    """What the tape has on the book of one market: its orders by (is_bid, price), and the token that leads."""

    leader: str = ""
    orders: dict[tuple[bool, int], BookOrder] = field(default_factory=dict)


class TapePlayer:
    """Plays a tape into the exchange and the price streams at its recorded times."""

    def __init__(
        self,
        tape: TapeFile,
        *,
        agenda: Agenda,
        exchange: Exchange,
        settlement: Settlement,
        makers: Account,
        rtds: Rtds,
        spot: Spot,
    ) -> None:
        self._agenda = agenda
        self._exchange = exchange
        self._settlement = settlement
        self._makers = makers
        self._rtds = rtds
        self._spot = spot
        self._lines = tape.lines()
        self._next = next(self._lines, None)
        self._shown: dict[str, Shown] = {}
        self._serial = 0
        self.played = 0

    def start(self) -> None:
        if self._next is None:
            log_event("tape_ended", lines=self.played)
        else:
            self._agenda.at(self._next[0], self._play)

    def _play(self) -> None:
        """Everything of one moment, then wait for the next."""
        if self._next is None:
            return
        at_ns = self._next[0]
        while self._next is not None and self._next[0] == at_ns:
            _, source, message = self._next
            self._show(source, message)
            self.played += 1
            self._next = next(self._lines, None)
        self.start()

    def _show(self, source: str, message: dict[str, Any]) -> None:
        if source == "gamma":
            self._announce(message)
        elif source == "rtds":
            self._rtds.forward(message)
        elif source == "spot.binance":
            self._spot.forward(message)
        elif source == "clob.market":
            market = self._exchange.markets.by_condition.get(str(message.get("market")).lower())
            if market is not None:
                self._on_frame(market, message)

    def _announce(self, message: dict[str, Any]) -> None:
        """An opening object makes the market, a closing one knows its prices and result."""
        market = self._exchange.markets.by_slug.get(message["slug"])
        if market is None:
            made = market_of(message, now_ns=self._exchange.clock.now_ns())
            self._exchange.markets.admit(made)
            self._exchange.events.market_created(made)
        elif message.get("closed"):
            prices = [Decimal(each) for each in orjson.loads(message.get("outcomePrices", "[]"))]
            self._end(market, prices.index(Decimal(1)) if Decimal(1) in prices else "even")
            for event in message.get("events", []):
                known = event.get("eventMetadata") or {}
                market.price_to_beat, market.final_price = known.get("priceToBeat"), known.get("finalPrice")

    def _on_frame(self, market: Market, message: dict[str, Any]) -> None:
        kind = message.get("event_type")
        if kind == "market_resolved":
            self._end(market, market.outcome_of(str(message["winning_asset_id"])))
        elif market.accepting and kind == "book" and self._leads(market, message["asset_id"]):
            self._replace(market, message["asset_id"], message)
        elif market.accepting and kind == "best_bid_ask" and self._leads(market, message["asset_id"]):
            sides = {"bids": message["best_bid"], "asks": message["best_ask"]}
            tops = {
                side: [{"price": price, "size": UNKNOWN_SIZE}] if 0 < Decimal(price) < 1 else []
                for side, price in sides.items()
            }
            self._replace(market, message["asset_id"], tops)
        elif market.accepting and kind == "price_change":
            changes = [each for each in message["price_changes"] if self._leads(market, each["asset_id"])]
            # Removals first: within a frame the order of entries says nothing.
            for each in sorted(changes, key=lambda change: micro(change["size"]) > 0):
                key = level_key(market, each["asset_id"], each["side"], each["price"])
                self._set(market, key, micro(each["size"]))
            self._exchange.publish(market)

    def _end(self, market: Market, outcome: int | str) -> None:
        if not market.closed:
            self._settlement.resolve(market, self._exchange.clock.now_ns(), decided=(outcome,))
            self._shown.pop(market.slug, None)

    def _leads(self, market: Market, token: str) -> bool:
        """The first token that a market is quoted in leads; the recorder read the other at another moment."""
        shown = self._shown.setdefault(market.slug, Shown())
        shown.leader = shown.leader or token
        return shown.leader == token

    def _replace(self, market: Market, token: str, book: Mapping[str, Any]) -> None:
        wanted = {
            level_key(market, token, side, level["price"]): micro(level["size"])
            for side, levels in (("BUY", book["bids"]), ("SELL", book["asks"]))
            for level in levels
        }
        for key in [key for key in self._shown[market.slug].orders if key not in wanted]:
            self._set(market, key, 0)
        for key, size in wanted.items():
            self._set(market, key, size)
        self._exchange.publish(market)

    def _set(self, market: Market, key: tuple[bool, int], size: int) -> None:
        """Make one level what the tape says; clients' orders that it runs into are met first."""
        orders = self._shown[market.slug].orders
        before = orders.pop(key, None)
        if before is not None:
            market.book.remove(before.id)
        is_bid, price = key
        if size <= 0 or not 0 < price < MICRO:
            return
        for other_key, other in list(orders.items()):
            crossed = other_key[0] != is_bid and (other_key[1] <= price if is_bid else other_key[1] >= price)
            if crossed:
                market.book.remove(other.id)
                del orders[other_key]
        order = self._order(is_bid=is_bid, price=price, size=size)
        fills = market.book.plan(order)
        if fills:
            self._exchange.execute(market, order, fills)
            order = self._order(is_bid=is_bid, price=price, size=size - sum(fill.shares for fill in fills))
        if order.remaining > 0:
            orders[key] = order
            market.book.add(order)

    def _order(self, *, is_bid: bool, price: int, size: int) -> BookOrder:
        self._serial += 1
        return BookOrder(
            id=f"{PREFIX}tape-{self._serial}",
            account=self._makers,
            outcome=0 if is_bid else 1,
            side=Side.BUY,
            price=price if is_bid else MICRO - price,
            size=size,
        )


def market_of(message: Mapping[str, Any], *, now_ns: int) -> Market:
    """A market from its opening Gamma object: ids, times, tick and fees are the recorded ones."""
    tokens, labels = orjson.loads(message["clobTokenIds"]), orjson.loads(message["outcomes"])
    start = _second(message.get("eventStartTime") or message["endDate"])
    end, schedule = _second(message["endDate"]), message.get("feeSchedule") or {}
    fees = FeeSchedule(rate=Decimal(str(schedule.get("rate", 0) if message.get("feesEnabled") else 0)))
    question = str(message.get("question", message["slug"]))
    terms = Terms(
        family="tape",
        slug=message["slug"],
        event_slug=message["slug"],
        question=question,
        event_title=question,
        description=str(message.get("description", "")),
        source=str(message.get("resolutionSource", "")),
        rule=Rule.DECLARED,
        start=start,
        end=end,
        known=end,
        labels=(labels[0], labels[1]),
        asset=ASSETS.get(str(message["slug"]).partition("-")[0]),
        fees=fees,
        neg_risk=bool(message.get("negRisk")),
        settle_s=NEVER_S,
    )
    return Market(
        terms=terms,
        condition_id=str(message["conditionId"]).lower(),
        tokens=(tokens[0], tokens[1]),
        number=int(message["id"]),
        created_ns=now_ns,
        fees=fees,
        tick=micro(message.get("orderPriceMinTickSize", "0.01")),
        min_size=micro(message.get("orderMinSize", 5)),
    )


def level_key(market: Market, token: str, side: str, price: str) -> tuple[bool, int]:
    """(is_bid, price) in terms of the first outcome: a bid for the other is an offer of this one."""
    outcome = market.outcome_of(token)
    bid = (side == "BUY") == (outcome == 0)
    return bid, micro(price) if outcome == 0 else MICRO - micro(price)


def micro(number: object) -> int:
    return int(Decimal(str(number)) * MICRO)


def _second(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
