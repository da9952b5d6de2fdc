"""`python -m services.executor`: wiring."""

from pmarb.runtime import main
from pmarb.settings import load
from services.executor.service import Executor
from services.executor.settings import ExecutorSettings
from services.executor.wiring import build

if __name__ == "__main__":
    settings = load(ExecutorSettings)

    async def start() -> Executor:
        return await build(settings)

    main("executor", settings, start)
