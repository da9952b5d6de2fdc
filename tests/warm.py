"""What the services, the sandbox and the command line import, read once for all that `tests.starting` starts."""

import gc
from importlib import import_module

for name in (
    "rich.live",
    "rich.progress",
    "services.console.service",
    "services.executor.wiring",
    "services.risk.service",
    "services.sandbox.app",
    "services.scanner.service",
    "typer",
):
    import_module(name)
gc.collect()
gc.freeze()  # Shared pages stay shared
