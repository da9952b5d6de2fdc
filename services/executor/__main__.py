"""`python -m services.executor`: the gate to real money, then the wiring."""

import sys

from pmarb.runtime import main
from pmarb.settings import WrongSettings, load
from services.executor.service import Executor
from services.executor.settings import ExecutorSettings
from services.executor.wiring import build

LOCKED = (
    "error: VENUE=polymarket with EXECUTION=live is locked in this version: it trades real money, and the executor "
    "does not ask the gate of risk yet. Use EXECUTION=paper, or VENUE=sandbox.\n"
)


def refuse_real_money(settings: ExecutorSettings) -> None:
    """Raises WrongSettings (exit code 2) for the one mode that is locked."""
    if settings.venue == "polymarket" and settings.execution == "live":
        sys.stderr.write(LOCKED)
        raise WrongSettings(2)


if __name__ == "__main__":
    settings = load(ExecutorSettings)
    refuse_real_money(settings)

    async def start() -> Executor:
        return await build(settings)

    main("executor", settings, start)
