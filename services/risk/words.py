"""What risk tells people of, in their words."""

from collections.abc import Sequence

from pmarb.domain.messages import CONTRACTS, Alert, AlertKind, Halt, Kill, MarketRules, Priority, TradingState
from services.risk.breakers import Breaker


def of_breaker(breaker: Breaker, now: int) -> Halt | Kill | Alert:
    match breaker.state:
        case TradingState.KILLED:
            return Kill(who="risk", why=breaker.why, ts_event=now, ts_init=now)
        case TradingState.HALTED:
            return Halt(who="risk", why=breaker.why, clears_at=breaker.clears_at, ts_event=now, ts_init=now)
        case _:
            return Alert(
                kind=AlertKind.TRADING_STOPPED,
                priority=Priority.HIGH,
                dedupe_key=f"reducing:{breaker.clears_at}",
                title="Nothing new is opened",
                body=f"{breaker.why}. Only what lowers exposure is allowed; it ends by itself.",
                ts_event=now,
                ts_init=now,
            )


def of_limits(changes: Sequence[str], now: int) -> Alert:
    return Alert(
        kind=AlertKind.LIMITS_CHANGED,
        priority=Priority.HIGH,
        dedupe_key=f"limits:{now}",
        title=f"{len(changes)} limits are others than before",
        body="; ".join(changes),
        ts_event=now,
        ts_init=now,
    )


def of_rules(seen: MarketRules, what: str, now: int) -> Alert:
    whole = seen.market == CONTRACTS
    return Alert(
        kind=AlertKind.RULES_CHANGED,
        priority=Priority.HIGH,
        dedupe_key=f"rules:{seen.series}:{what}",
        title="The venue changed its contracts" if whole else f"The venue changed the rules of {seen.slug}",
        body=f"{what}. Nothing is traded{'' if whole else ' there'} until: pm-arb ack {seen.slug} --reason '...'",
        ts_event=seen.ts_event,
        ts_init=now,
    )
