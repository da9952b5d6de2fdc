"""`python -m services.executor`: wiring."""

import gc

gc.disable()  # What imports make stays: looking for garbage among it is a seventh of the start. `main` enables it

from pmarb.runtime import main  # noqa: E402
from pmarb.settings import load  # noqa: E402
from services.executor.service import Executor  # noqa: E402
from services.executor.settings import ExecutorSettings  # noqa: E402
from services.executor.wiring import build  # noqa: E402

if __name__ == "__main__":
    settings = load(ExecutorSettings)

    async def start() -> Executor:
        return await build(settings)

    main("executor", settings, start)
