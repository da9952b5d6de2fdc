"""Whether a market offers more than it costs: fair value, depth at the real size, threshold.

Pure. `now` is venue time, `real` the receiver's own clock; both nanoseconds. Windows and horizons are judged in venue
time, the age of what we hold in real time: a venue that runs faster than us does not make our socket older.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, Protocol

from pmarb.domain.book import Book, Level, Take, walk
from pmarb.domain.edge import net_edge
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import ExchangeRule, MarketInfo
from pmarb.domain.messages import Leg, Opportunity
from pmarb.domain.underlying import Underlying
from pmarb.domain.updown import Fair, Missing, fair_value
from pmarb.domain.values import NANOS, ONE, SHARE_GRID, ZERO, Side, round_down
from services.scanner.cooldown import Cooldown
from services.scanner.limits import Limits, SkipReason
from services.scanner.terms import Terms, terms_of

__all__ = ["Cooldown", "Limits", "Quotes", "Skip", "SkipReason", "Watched", "find", "unreadable"]

STRATEGY: Final = "updown_fair_value"
YEAR_S: Final = 365 * 86_400
MS: Final = 1_000_000
GRAIN: Final = Decimal("0.000001")
LAST_MINUTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Nothing to do, and why."""

    reason: SkipReason


_SKIPS: Final = {reason: Skip(reason=reason) for reason in SkipReason}


class Quotes(Protocol):
    """A book as it is kept: floats for the quick look, the exact value on demand. Bid 0 and ask 1 are empty sides."""

    @property
    def bid(self) -> float: ...
    @property
    def ask(self) -> float: ...
    @property
    def sized(self) -> bool: ...
    @property
    def empty(self) -> bool: ...
    def book(self) -> Book: ...


@dataclass(slots=True, kw_only=True)
class Watched:
    """A market and the books of its two outcomes. `proven` is the real time at which the books were last known true.

    `up` is the book of Up or Yes, `down` the other. `stated_strike` is the reference where it was learnt elsewhere;
    otherwise it is computed from the oracle's ticks. `paused` markets wait for their books to be fetched anew, and
    `broken_since` is the real time since which the two have contradicted each other. `last` is why the last look gave
    nothing, None where it gave something; `tops` and `looked` are the best prices it saw, and its real time. What was
    found and why nothing was are counted since they were last told. `terms` are those of the limits that asked last.
    """

    market: MarketInfo
    up: Quotes
    down: Quotes
    proven: int = 0
    stated_strike: float | None = None
    paused: bool = False
    broken_since: int = 0
    last: SkipReason | None = SkipReason.NO_BOOK
    tops: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    looked: int = 0
    found: int = 0
    skips: Counter[SkipReason] = field(default_factory=Counter)
    terms: Terms | None = None
    labels: tuple[str, str] | None = field(init=False)

    def __post_init__(self) -> None:
        sides = self.market.sides
        self.labels = None if sides is None else (sides[0].label, sides[1].label)


def find(watched: Watched, underlying: Underlying, limits: Limits, *, now: int, real: int) -> Opportunity | Skip:
    """The better of buying Up and buying Down, if its net edge at the real size beats the threshold."""
    market, terms = watched.market, watched.terms
    if terms is None or terms.limits is not limits:
        terms = watched.terms = terms_of(market, limits)
    reason = terms.forbid(now)
    if reason is None:
        reason = unfed_for(market, underlying, limits, real=real) or unreadable(watched, limits, real=real)
    if reason is not None:
        return _SKIPS[reason]
    fair = fair_value(market, underlying, limits.model, now=now, real=real, stated_strike=watched.stated_strike)
    if isinstance(fair, Missing):
        return _SKIPS[SkipReason(fair)]
    if fair.tau <= LAST_MINUTE and abs(fair.moments.mean / fair.strike - 1) * 1e4 < limits.near_tie_bps:
        return _SKIPS[SkipReason.NEAR_TIE]
    return _taken(watched, underlying, limits, fair, now=now, real=real)


def unfed_for(market: MarketInfo, underlying: Underlying, limits: Limits, *, real: int) -> SkipReason | None:
    """Whether the prices that this market needs are there and young."""
    if isinstance(market.settlement, ExchangeRule):
        return _no_spot(underlying, underlying.first_stamp.real, limits.stale_spot(market.family), real)
    return unfed(underlying, limits, real=real)


def unfed(underlying: Underlying, limits: Limits, *, real: int) -> SkipReason | None:
    """Whether both prices are there and young."""
    if underlying.price is None:
        return SkipReason.NO_SPOT
    if underlying.oracle.last is None:
        return SkipReason.NO_ORACLE
    if real - underlying.spot_stamp.real > limits.stale_spot_ms * MS:
        return SkipReason.STALE_SPOT
    if real - underlying.oracle_stamp.real > limits.stale_oracle_ms * MS:
        return SkipReason.STALE_ORACLE
    return None


def _no_spot(underlying: Underlying, seen: int, stale_ms: int, real: int) -> SkipReason | None:
    if underlying.price is None:
        return SkipReason.NO_SPOT
    return SkipReason.STALE_SPOT if real - seen > stale_ms * MS else None


def unreadable(watched: Watched, limits: Limits, *, real: int) -> SkipReason | None:
    """Whether the two books can be believed: they are one book seen twice (venue.md 6.1)."""
    up, down = watched.up, watched.down
    if watched.paused:
        return SkipReason.BOOK_PAUSED
    if up.empty or down.empty:
        return SkipReason.NO_BOOK
    if real - watched.proven > limits.stale_book(watched.market.family) * MS:
        return SkipReason.STALE_BOOK
    up_bid, up_ask, down_bid, down_ask = up.bid, up.ask, down.bid, down.ask
    if up_bid <= 0 or up_ask >= 1 or down_bid <= 0 or down_ask >= 1:
        return SkipReason.ONE_SIDED
    if up_bid >= up_ask or down_bid >= down_ask:
        return SkipReason.CROSSED
    gap = max(abs(up_ask - (1 - down_bid)), abs(up_bid - (1 - down_ask)))
    if gap > limits.mirror_ticks * float(watched.market.tick) + 1e-9:
        return SkipReason.MIRROR_BROKEN
    if not (up.sized and down.sized):
        return SkipReason.NO_SIZES
    return None


def _taken(
    watched: Watched, underlying: Underlying, limits: Limits, fair: Fair, *, now: int, real: int
) -> Opportunity | Skip:
    """Choose the side by its tops, then price it exactly."""
    market, fees, labels = watched.market, watched.market.fees, watched.labels
    assert fees is not None
    assert labels is not None
    mid = (watched.up.bid + watched.up.ask) / 2
    up = mid + limits.model_weight * (fair.up - mid)
    threshold = max(float(limits.min_edge), limits.k_se * fair.se)
    edge_up = _quick_edge(up, watched.up.ask, fees)
    edge_down = _quick_edge(1 - up, watched.down.ask, fees)
    label, quotes, chance, edge = (
        (labels[0], watched.up, up, edge_up) if edge_up >= edge_down else (labels[1], watched.down, 1 - up, edge_down)
    )
    if edge < threshold - 1e-9:
        return _SKIPS[SkipReason.EDGE_TOO_THIN]
    if not limits.lowest_price <= quotes.ask <= limits.highest_price:
        return _SKIPS[SkipReason.PRICE_BAND]
    offer = _offer(market, quotes.book(), fees, limits, chance=chance, threshold=threshold)
    if isinstance(offer, SkipReason):
        return _SKIPS[offer]
    reference = underlying.spot_stamp if isinstance(market.settlement, ExchangeRule) else underlying.oracle_stamp
    seen = _Seen(
        book=now - max(0, real - watched.proven),
        spot=now - max(0, real - underlying.spot_stamp.real),
        reference=now - max(0, real - reference.real),
        now=now,
    )
    side_mid = mid if quotes is watched.up else 1 - mid
    return _opportunity(market, underlying, limits, fair, offer, seen, label=label, mid=mid, side_mid=side_mid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """When what we saw was true: `now` less its real age, so that readers of the message see real ages at any speed."""

    book: int
    spot: int
    reference: int
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    book: Book
    fees: FeeSchedule
    take: Take
    displayed: Decimal
    limit: Decimal
    fair: Decimal
    threshold: Decimal
    net: Decimal


def _offer(
    market: MarketInfo, book: Book, fees: FeeSchedule, limits: Limits, *, chance: float, threshold: float
) -> _Offer | SkipReason:
    """What the depth gives at our size, in exact money. Fair rounds down, the threshold up: never in our favour."""
    fair = Decimal(chance).quantize(GRAIN, rounding=ROUND_FLOOR)
    least = max(limits.min_edge, Decimal(threshold).quantize(GRAIN, rounding=ROUND_CEILING))
    best = book.best_ask
    if best is None:
        return SkipReason.ONE_SIDED
    limit = _limit(best.price, book.tick, fees, fair=fair, least=least, slippage_ticks=limits.slippage_ticks)
    if limit is None:
        return SkipReason.EDGE_TOO_THIN
    wanted = size_wanted(price=best.price, min_size=market.min_size, limits=limits)
    take = walk(book.asks, side=Side.BUY, fees=fees, shares=wanted, limit=limit)
    if take is None or take.shares < market.min_size:
        return SkipReason.DEPTH_TOO_THIN
    net = net_edge(side=Side.BUY, fair=fair, price=take.vwap, fees=fees)
    if net < least:
        return SkipReason.EDGE_TOO_THIN
    displayed = round_down(_displayed(book.asks, limit), SHARE_GRID)
    return _Offer(
        book=book, fees=fees, take=take, displayed=displayed, limit=limit, fair=fair, threshold=least, net=net
    )


def _limit(
    ask: Decimal, tick: Decimal, fees: FeeSchedule, *, fair: Decimal, least: Decimal, slippage_ticks: int
) -> Decimal | None:
    """The lower of `max_buy_price` and the ask plus the slippage, found from the ask in a few tries."""
    limit = min(round_down(ask + slippage_ticks * tick, tick), ONE - tick)
    while limit >= ask:
        if net_edge(side=Side.BUY, fair=fair, price=limit, fees=fees) >= least:
            return limit
        limit -= tick
    return None


def size_wanted(*, price: Decimal, min_size: Decimal, limits: Limits) -> Decimal:
    """Shares of the order we would really send: the stake, at least the venue's minimum, at most the hard cap."""
    stake = min(max(limits.order_usd / price, min_size), limits.hard_cap_usd / price)
    return round_down(stake, SHARE_GRID)


def _displayed(asks: tuple[Level, ...], limit: Decimal) -> Decimal:
    return sum((size for price, size in asks if price <= limit), ZERO)


def _opportunity(
    market: MarketInfo,
    underlying: Underlying,
    limits: Limits,
    fair: Fair,
    offer: _Offer,
    seen: _Seen,
    *,
    label: str,
    mid: float,
    side_mid: float,
) -> Opportunity:
    take, book = offer.take, offer.book
    gross = offer.fair - take.vwap
    leg = _leg(market, offer, seen, label)
    inputs = _inputs(market, fair, underlying, limits, mid=mid) | _lock(market, offer, now=seen.now)
    by_se = Decimal(limits.k_se * fair.se) > limits.min_edge
    return Opportunity(
        opportunity_id=_identity(market.slug, leg, offer, inputs),
        strategy=STRATEGY,
        legs=(leg,),
        fair=offer.fair,
        fair_se=Decimal(fair.se).quantize(GRAIN, rounding=ROUND_CEILING),
        mid=Decimal(repr(round(side_mid, 6))),
        gross_edge=gross,
        fee=gross - offer.net,
        net_edge=offer.net,
        threshold=offer.threshold,
        bound_by="standard_error" if by_se else "min_edge",
        slug=market.slug,
        event=market.event,
        underlying=market.underlying,
        family=market.family,
        opens_at=market.opens_at,
        expiry=market.closes_at,
        expires_at=seen.now + int(limits.ttl_s * NANOS),
        spot_ts_init=seen.spot,
        reference_ts_init=seen.reference,
        ts_event=max(book.ts_event, underlying.spot_stamp.ts_event),
        ts_init=seen.now,
        inputs=inputs,
    )


def _leg(market: MarketInfo, offer: _Offer, seen: _Seen, label: str) -> Leg:
    take, book, fees = offer.take, offer.book, offer.fees
    return Leg(
        market=market.condition_id,
        token=book.token,
        outcome=label,
        side=Side.BUY,
        limit=offer.limit,
        price=take.vwap,
        shares=offer.displayed,
        tick=book.tick,
        fee=fees.charged(shares=offer.displayed, price=take.vwap),
        fee_rate=fees.rate,
        fee_exponent=fees.exponent,
        book_hash=book.hash or digest(book),
        book_ts_event=book.ts_event,
        book_ts_init=seen.book,
        levels=tuple(level for level in book.asks if level.price <= offer.limit),
    )


def _inputs(market: MarketInfo, fair: Fair, underlying: Underlying, limits: Limits, *, mid: float) -> dict[str, str]:
    """The receipt: every number behind the fair value, each part of its error, and what the order's way adds to it."""
    model, arrival = limits.model, limits.model.order_time(market)
    return {
        "spot": f"{underlying.price:.8g}",
        "nowcast": f"{fair.nowcast:.10g}",
        "strike": f"{fair.strike:.10g}",
        "basis_bps": f"{fair.basis * 1e4:.4f}",
        "sigma_bps": f"{fair.sigma * 1e4:.5f}",
        "tau_s": f"{fair.tau:.3f}",
        "mean_elapsed": "" if fair.mean_elapsed is None else f"{fair.mean_elapsed:.10g}",
        "p_model": f"{fair.up:.6f}",
        "se": f"{fair.se:.6f}",
        "se_price": f"{fair.se_price:.6f}",
        "se_sigma": f"{fair.se_sigma:.6f}",
        "arrival_s": f"{arrival:g}",
        "arrival_bps": f"{fair.sigma * math.sqrt(arrival) * 1e4:.4f}",
        "mid": f"{mid:.6f}",
        "w": f"{limits.model_weight:g}",
        "nu": f"{model.nu:g}",
        "rule": type(market.settlement).__name__,
    } | ({"spot_by": "second exchange"} if underlying.standing_in else {})


def _lock(market: MarketInfo, offer: _Offer, *, now: int) -> dict[str, str]:
    """How long the money is away, and what the edge comes to in a year of that."""
    locked = max(1.0, (market.decided_at - now) / NANOS)
    return {"lock_s": f"{locked:.0f}", "apr": f"{float(offer.net / offer.take.vwap) * YEAR_S / locked:.4g}"}


def digest(book: Book) -> str:
    """A receipt of the book where the venue's own hash is not known."""
    levels = ";".join(f"{price}@{size}" for side in (book.bids, book.asks) for price, size in side)
    return hashlib.sha256(f"{book.token}|{levels}".encode()).hexdigest()[:40]


def _identity(slug: str, leg: Leg, offer: _Offer, inputs: Mapping[str, str]) -> str:
    parts = [slug, leg.token, str(leg.limit), str(leg.price), str(leg.shares), leg.book_hash, str(leg.book_ts_event)]
    parts += [str(offer.fair), str(offer.threshold), *(f"{key}={inputs[key]}" for key in sorted(inputs))]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]


def _quick_edge(chance: float, ask: float, fees: FeeSchedule) -> float:
    """The net edge of one share at the top, in floats: only to pass over what cannot beat the threshold."""
    spread = ask * (1 - ask)
    if fees.exponent != 1:
        spread = math.pow(spread, float(fees.exponent))
    return chance - ask - float(fees.rate) * spread
