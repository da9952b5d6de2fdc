"""What the system's short words mean, for people: used by the demo and by the generated tables in docs/."""

from typing import Final

from pmarb.domain.messages import RejectionReason

REASONS: Final[dict[RejectionReason, str]] = {
    RejectionReason.MALFORMED: "a field made no sense, so nothing was assumed",
    RejectionReason.TRADING_HALTED: "trading is halted, or its state could not be read",
    RejectionReason.TRADING_KILLED: "trading is killed until a person resumes it",
    RejectionReason.REDUCING_ONLY: "only what lowers exposure is allowed now",
    RejectionReason.GATE_LOCKED: "the gate to real money is locked",
    RejectionReason.RULES_CHANGED: "the venue changed this market's rules and nobody has acknowledged it",
    RejectionReason.EXPIRED: "it was older than it may get before it was judged",
    RejectionReason.CLOCK_SKEW: "its times lie in the future: a clock is wrong",
    RejectionReason.STALE_BOOK: "the book was too old to trust",
    RejectionReason.STALE_SPOT: "the spot price was too old to trust",
    RejectionReason.STALE_REFERENCE: "the settlement price was too old to trust",
    RejectionReason.LEG_SKEW: "the books of a set were seen too far apart in time",
    RejectionReason.CROSSED_BOOK: "the offer is not above the middle: the book is crossed or locked",
    RejectionReason.PRICE_BAND: "the price is too near 0 or 1",
    RejectionReason.SPREAD_TOO_WIDE: "bid and ask are too far apart",
    RejectionReason.TOO_EARLY: "the window has only just opened",
    RejectionReason.TOO_LATE: "the window ends too soon",
    RejectionReason.UNKNOWN_FEE: "the fee is unknown or no fee this venue could ask",
    RejectionReason.EDGE_TOO_THIN: "after fees and the model's own error too little is left",
    RejectionReason.LEG_RISK: "what a set earns does not pay for being left with a part of it",
    RejectionReason.TOO_MANY_ORDERS: "enough orders are in flight",
    RejectionReason.TOO_MANY_POSITIONS: "enough markets are held",
    RejectionReason.BELOW_MINIMUM: "the size the limits allow is below the venue's minimum",
    RejectionReason.ORDER_CAP: "one order would cost too much",
    RejectionReason.MARKET_CAP: "enough is at stake in this market",
    RejectionReason.EVENT_CAP: "enough is at stake in this event",
    RejectionReason.UNDERLYING_CAP: "enough is at stake on this asset and expiry",
    RejectionReason.STRATEGY_CAP: "this strategy's share of the capital is at stake",
    RejectionReason.TOTAL_CAP: "enough is at stake in total",
    RejectionReason.DRAWDOWN: "the account fell too far from its peak",
    RejectionReason.DAILY_LOSS: "the day's loss limit is reached",
    RejectionReason.FEE_BURN: "the day's fees are too high for the account",
    RejectionReason.CALIBRATION: "what was bought wins less often than it costs: the fair value is wrong",
    RejectionReason.REJECT_RATIO: "the venue refuses too many of our orders",
    RejectionReason.LOSS_STREAK: "too many losses in a row: cooling down",
    RejectionReason.TRADES_PER_DAY: "the day's number of trades is reached",
    RejectionReason.ORDER_RATE: "orders come too fast",
    RejectionReason.DUPLICATE: "the same trade was approved a moment ago",
    RejectionReason.ENTRIES_PER_WINDOW: "this window has been entered already",
    RejectionReason.INSUFFICIENT_CASH: "there is not enough free cash",
}


def reason(name: str) -> str:
    """A reason's meaning; its own name when it is newer than this text."""
    return {str(known): text for known, text in REASONS.items()}.get(name, name)
