"""docs/sandbox.md is true: its snippets run, and what it lists is what there is."""

import ast
import dataclasses
import inspect
import json
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from fastapi.routing import APIRoute

from services.sandbox.api_control import Control
from services.sandbox.api_faults import FaultControl
from services.sandbox.catalog import FAMILY_NAMES
from services.sandbox.clock import SECOND_NS
from services.sandbox.fault_specs import STANDING, WAITING, Fault, parse_spec
from services.sandbox.scenario import SCENARIOS
from services.sandbox.scenario_file import parse_scenario
from services.sandbox.world import RunSettings, World
from tests import sandboxes
from tests.starting import running_sandbox

TEXT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def ready():
    with running_sandbox("--scenario", "instant") as made:
        yield made


async def run(snippet: str, names: dict[str, Any]) -> None:
    """A snippet may await at its top level."""
    code = compile(snippet, "docs/sandbox.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    waiting = eval(code, names)
    if inspect.isawaitable(waiting):
        await waiting


async def test_both_clients_connect_as_written(ready):
    others = pytest.importorskip("py_clob_client_v2.client")
    polymarket = pytest.importorskip("polymarket")
    second, unified = SNIPPETS
    names: dict[str, Any] = {"ready": ready, "account": ready["accounts"][0], "dataclasses": dataclasses}
    try:
        await run(second, names | {"ClobClient": others.ClobClient})
    finally:
        sandboxes.renew_second_client()
    names["AsyncSecureClient"] = polymarket.AsyncSecureClient
    await run(unified, names)
    async with names["client"] as client:
        assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance == 300_000_000


def test_the_scenario_file_and_the_fault_of_the_text_are_good():
    (scenario,) = re.findall(r"## Scenario files\n\n(    .*?)\n\n", TEXT, flags=re.DOTALL)
    assert parse_scenario(json.loads(scenario)).faults
    for body in re.findall(r"POST /sandbox/faults (\{[^}.]*\})", TEXT):
        assert parse_spec(json.loads(body)).kind in Fault


def test_everything_is_listed():
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([a-z_0-9]+)` \|.*$", TEXT, flags=re.MULTILINE)}
    assert [kind for kind in Fault if kind not in rows] == []
    for kind, fields in (WAITING | STANDING).items():
        special = fields - {"count", "rate", "after", "seconds", "account", "call", "path"}
        assert [name for name in special if f"`{name}`" not in rows[kind]] == [], kind
        assert (kind in WAITING) == ("| armed" in rows[kind] or kind is Fault.WS_FREEZE), kind
    assert [name for name in SCENARIOS if name not in rows] == []
    assert [name for name in FAMILY_NAMES if f"`{name}`" not in TEXT] == []


def test_every_control_call_is_listed():
    settings = RunSettings(
        seed=1, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=1_795_000_000 * SECOND_NS, bankroll_usd=1
    )
    world = World(settings)
    for route in [*Control(world).router().routes, *FaultControl(world).router().routes]:
        assert isinstance(route, APIRoute)
        path = route.path.split("{", maxsplit=1)[0]
        for method in route.methods or ():
            assert f"`{method} {path}" in TEXT, (method, route.path)
