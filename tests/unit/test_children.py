"""Processes of ours: what they say is heard to the last word, and a stop does not wait for what they left behind."""

import time

import pytest

from services.cli.children import LAST_WORDS, Child, Program, WrongSettings
from tests.waiting import until

LAST_LINE = """
import signal, sys, time
def end(*_):
    print("the receipt")
    sys.stdout.write("no newline")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready")
time.sleep(60)
"""
MANY_LINES = """
import time
for number in range(20_000):
    print("x" * 40, number)
time.sleep(60)
"""
LEAVES_A_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"])
print("ready")
time.sleep(60)
"""


REFUSES = """
import sys
print("error: LEAST was 3; below 5", file=sys.stderr)
sys.exit(2)
"""


async def running(script: str, said: list[str]) -> Child:
    child = Child(Program(name="one", arguments=("-c", script)), lambda _name, line: said.append(line))
    await child.start()
    return child


async def test_the_last_words_of_one_that_is_stopped_are_heard() -> None:
    said: list[str] = []
    child = await running(LAST_LINE, said)
    await until(lambda: "ready" in said)
    assert await child.stop() == 0
    assert said == ["ready", "the receipt", "no newline"]


async def test_more_than_a_pipe_holds_is_heard_in_order() -> None:
    said: list[str] = []
    child = await running(MANY_LINES, said)
    await until(lambda: len(said) == 20_000)
    assert [int(line.split()[1]) for line in said] == list(range(20_000))
    await child.stop()


async def test_why_settings_were_refused_is_in_the_error() -> None:
    child = await running(REFUSES, [])
    with pytest.raises(WrongSettings, match=r"^one refused its settings: LEAST was 3; below 5$"):
        await child.wait_broken()


async def test_one_that_names_no_setting_is_quoted_by_its_last_line() -> None:
    child = await running("import sys; print('first'); print('one: PORT was 99999'); sys.exit(2)", [])
    with pytest.raises(WrongSettings, match=r"^one refused its settings: one: PORT was 99999$"):
        await child.wait_broken()


async def test_a_stop_does_not_wait_for_what_it_left_behind() -> None:
    said: list[str] = []
    child = await running(LEAVES_A_CHILD, said)
    await until(lambda: "ready" in said)
    begun = time.monotonic()
    await child.stop()
    assert time.monotonic() - begun < LAST_WORDS + 10
