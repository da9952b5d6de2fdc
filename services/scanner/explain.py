"""Every question the scanner asks of a market, with its value and limit: for `pm-arb why`, off the path of ticks."""

from collections.abc import Iterator

from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import DOWN, UP, ExchangeRule
from pmarb.domain.underlying import Underlying
from pmarb.domain.updown import Missing, fair_value
from pmarb.domain.values import NANOS
from services.scanner.decide import MS, Limits, Watched, unreadable
from services.scanner.terms import barred

Row = tuple[str, str, str, bool]


def explained(watched: Watched, underlying: Underlying, limits: Limits, *, now: int, real: int) -> tuple[Row, ...]:
    """(question, value, limit, passed), in the order in which they are asked."""
    return tuple(_rows(watched, underlying, limits, now, real))


def _rows(watched: Watched, underlying: Underlying, limits: Limits, now: int, real: int) -> Iterator[Row]:
    market = watched.market
    bar = barred(market, limits)
    yield "market", "tradable" if bar is None else str(bar), "tradable", bar is None
    since, left = (now - market.opens_at) / NANOS, (market.closes_at - now) / NANOS
    yield "open_for_s", f"{since:.0f}", f"{limits.first_s:g}", since >= limits.first_s
    needed = limits.min_left(market.family) / NANOS
    yield "left_s", f"{left:.0f}", f"{needed:g}", left >= needed
    by_exchange = isinstance(market.settlement, ExchangeRule)
    stamp = underlying.first_stamp if by_exchange else underlying.spot_stamp
    spot = (real - stamp.real) / MS if underlying.price is not None else None
    yield _age("spot_age_ms", spot, limits.stale_spot(market.family) if by_exchange else limits.stale_spot_ms)
    oracle = (real - underlying.oracle_stamp.real) / MS if underlying.oracle.last is not None else None
    if not by_exchange:
        yield _age("settlement_age_ms", oracle, limits.stale_oracle_ms)
    book = (real - watched.proven) / MS if watched.proven else None
    yield _age("book_age_ms", book, limits.stale_book(market.family))
    books, up, down = unreadable(watched, limits, real=real), watched.up, watched.down
    one, other = watched.labels or (UP, DOWN)
    tops = f"{one} {up.bid:g}/{up.ask:g}, {other} {down.bid:g}/{down.ask:g}"
    yield "books", tops if books is None else f"{tops} ({books})", "one book seen twice", books is None
    yield from _priced(watched, underlying, limits, now, real)


def _age(name: str, found: float | None, allowed: int) -> Row:
    return name, "none" if found is None else f"{found:.0f}", str(allowed), found is not None and found <= allowed


def _priced(watched: Watched, underlying: Underlying, limits: Limits, now: int, real: int) -> Iterator[Row]:
    market = watched.market
    fair = fair_value(market, underlying, limits.model, now=now, real=real, stated_strike=watched.stated_strike)
    if isinstance(fair, Missing):
        yield "fair_value", str(fair), "known", False
        return
    mid = (watched.up.bid + watched.up.ask) / 2
    chance = mid + limits.model_weight * (fair.up - mid)
    one, other = watched.labels or (UP, DOWN)
    yield "fair_value", f"{one} {chance:.4f} +- {fair.se:.4f}", "known", True
    threshold = max(float(limits.min_edge), limits.k_se * fair.se)
    for label, worth, ask in ((one, chance, watched.up.ask), (other, 1 - chance, watched.down.ask)):
        edge = worth - ask - _fee(market.fees, ask)
        yield f"net_edge_{label.lower()}", f"{edge:+.4f}", f"{threshold:.4f}", edge >= threshold


def _fee(fees: FeeSchedule | None, ask: float) -> float:
    return 0.0 if fees is None else float(fees.rate) * (ask * (1 - ask)) ** float(fees.exponent)
