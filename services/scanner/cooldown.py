"""How often one token may be spoken of."""

from decimal import Decimal

from pmarb.domain.messages import Opportunity
from pmarb.domain.values import NANOS
from services.scanner.limits import Limits


class Cooldown:
    """At most one opportunity a token in `cooldown_s`, unless the edge has grown by `grown` since the last one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: dict[str, tuple[int, Decimal]] = {}

    def admits(self, opportunity: Opportunity) -> bool:
        """Ask once for each opportunity found: a yes is remembered."""
        token = opportunity.legs[0].token
        last = self._last.get(token)
        if last is not None:
            soon = opportunity.ts_init - last[0] < int(self._limits.cooldown_s * NANOS)
            if soon and opportunity.net_edge < last[1] + self._limits.grown:
                return False
        self._last[token] = (opportunity.ts_init, opportunity.net_edge)
        return True

    def forget(self, tokens: tuple[str, ...]) -> None:
        """The market is over."""
        for token in tokens:
            self._last.pop(token, None)
