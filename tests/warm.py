"""What the services, the sandbox and the command line import, read once for all that `tests.starting` starts."""

import gc

import typer  # noqa: F401

gc.collect()
gc.freeze()  # Shared pages stay shared
