"""The command line may not import the sandbox; what it says of it must be true all the same."""

from services.cli.options import SCENARIOS
from services.sandbox import scenario


def test_the_command_line_knows_every_scenario_of_the_sandbox() -> None:
    assert sorted(SCENARIOS) == sorted(scenario.SCENARIOS)
