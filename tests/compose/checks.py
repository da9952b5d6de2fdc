"""The promises of docker-compose.yml, one function each: they return a line of evidence or raise AssertionError."""

import json
import time
from collections import Counter
from functools import partial

from tests.compose.stack import Stack, eventually

STAYING = ("redis", "postgres", "sandbox", "scanner", "risk", "executor", "alerter", "console")
OURS = ("sandbox", "scanner", "risk", "executor", "alerter", "console")
RECORDED_S = 20
FILLED = "select count(*) from trades"


def starts(stack: Stack) -> str:
    begun = time.monotonic()
    stack.compose("--profile", "*", "build", "--quiet")
    built = time.monotonic()
    stack.compose("up", "--wait", "--wait-timeout", "180")
    up = time.monotonic()
    unhealthy = [name for name in STAYING if not stack.healthy(stack.containers(name)[0])]
    assert not unhealthy, f"not healthy: {unhealthy}"
    return f"built in {built - begun:.0f} s, `up --wait` returned 0 after {up - built:.1f} s"


def trades(stack: Stack) -> str:
    took = eventually(lambda: stack.number(FILLED) > 0, within=300, saying="no fill in the ledger")
    found = len(stack.messages("opportunities"))
    return f"{found} opportunities, first fill after {took:.0f} s"


def logs_follow_an_opportunity(stack: Stack) -> str:
    traded = stack.sql("select opportunity_id from orders order by created_at limit 1")[0][0]
    silent = [name for name in ("scanner", "risk", "executor") if not any(traded in line for line in stack.logs(name))]
    assert not silent, f"{traded} is not in the log of {silent}"
    sprawling = [line for name in OURS for line in stack.logs(name) if line.startswith(("Traceback", "  File"))]
    assert not sprawling, f"a traceback in the logs: {sprawling[0]}"
    return f"{traded} is in the logs of scanner, risk and executor"


def stop_is_a_kill_switch(stack: Stack) -> str:
    executor = stack.containers("executor")[0]
    begun = time.monotonic()
    stack.compose("stop", "executor")
    took = time.monotonic() - begun
    code = stack.inspect(executor, "{{.State.ExitCode}}")
    assert code == "0", f"the executor exited {code}"
    left = stack.sql("select jsonb_array_length(open_after), unverified from receipts order by id desc limit 1")
    assert left, "no receipt in the ledger"
    assert left[0] == ["0", ""], f"the receipt says: open {left[0][0]}, unverified {left[0][1]!r}"
    said = [line for line in stack.logs("executor") if "receipt" in line]
    assert said, "no receipt in the log"
    return f"exit 0 after {took:.1f} s, receipt with zero open orders"


def start_fires_nothing_stale(stack: Stack) -> str:
    before = stack.number("select count(*) from orders")
    time.sleep(20)  # Approvals pile up and expire while nobody takes them
    assert stack.number("select count(*) from orders") == before, "an order without an executor"
    stack.compose("up", "--detach", "--wait", "--no-recreate", "executor")
    time.sleep(10)
    stale = """select count(*) from orders o join verdicts v using (opportunity_id)
               where o.created_at > (v.approval->>'expires_at')::bigint"""
    assert stack.number(stale) == 0, "an approval was executed after its expiry"
    missed = stack.number(
        "select count(*) from verdicts v where approval is not null"
        " and not exists (select from orders o where o.opportunity_id = v.opportunity_id)"
    )
    return f"{missed} approvals were left to die"


def two_scanners_share_the_markets(stack: Stack) -> str:
    stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "scanner=2", "scanner")
    scanners = stack.containers("scanner")
    assert len(scanners) == 2, f"{len(scanners)} scanners"
    before = len(stack.messages("opportunities"))
    time.sleep(30)
    found = [message["opportunity_id"] for message in stack.messages("opportunities")]
    twice = [name for name, times in Counter(found).items() if times > 1]
    assert not twice, f"published twice: {twice[:3]}"
    assert (
        stack.number("select count(*) from (select from orders group by opportunity_id, leg having count(*) > 1) d")
        == 0
    )
    return f"{len(found) - before} opportunities by two scanners, none twice"


def a_crash_recovers(stack: Stack) -> str:
    evidence = []
    told = stack.trades_at_the_venue()
    for name in STAYING:
        container = stack.containers(name)[0]
        started = stack.inspect(container, "{{.State.StartedAt}}")
        stack.crash(container)
        took = eventually(partial(came_back, stack, container, started), within=90, saying=f"{name} did not recover")
        evidence.append(f"{name} {took:.0f} s")
    forgotten = told - stack.trades_at_the_venue()
    assert told, "nothing was traded before the crashes"
    assert not forgotten, f"the sandbox forgot {len(forgotten)} of {len(told)} trades"
    return "healthy again: " + ", ".join(evidence)


def came_back(stack: Stack, container: str, started: str) -> bool:
    return stack.inspect(container, "{{.State.StartedAt}}") != started and stack.healthy(container)


def trades_after_all_that(stack: Stack) -> str:
    before = stack.number(FILLED)
    took = eventually(lambda: stack.number(FILLED) > before, within=300, saying="no fill after the crashes")
    dead = [name for name in OURS if not stack.healthy(stack.containers(name)[0])]
    assert not dead, f"not healthy: {dead}"
    state, why = stack.sql("select state, why from trading_state")[0]
    assert state != "HALTED", f"halted after the crashes: {why}"
    return f"filled again after {took:.0f} s"


def everything_can_be_done_from_a_container(stack: Stack) -> str:
    """Looked at, stopped and started again by `docker compose run --rm cli`, with nothing installed on this machine."""
    trading = json.loads(stack.by_hand("cli", "status", "--json"))["trading"]
    assert trading["state"] == "ACTIVE", f"status says {trading}"
    eventually(partial(is_well, stack), within=60, saying="the doctor finds something")
    one = stack.sql("select opportunity_id from orders order by created_at limit 1")[0][0]
    assert one in stack.by_hand("cli", "trace", one), "no trace of an order"
    stack.by_hand("cli", "kill", "--reason", "drill")
    assert stack.sql("select state from trading_state") == [["KILLED"]], "not killed"
    stack.by_hand("cli", "audit")
    stack.by_hand("cli", "resume", "--reason", "drilled")
    assert stack.sql("select state from trading_state") == [["ACTIVE"]], "not resumed"
    stack.by_hand("executor", "python", "-m", "services.executor.doctor")
    locked = stack.by_hand("cli", "gate", "show", "--json", code=1)
    (doctor,) = [each for each in json.loads(locked)["criteria"] if each["name"].startswith("the doctor")]
    assert doctor["met"], f"with the wallet the doctor finds {doctor['found']}"
    return "status, doctor, trace, kill, audit, resume, gate with a look at the wallet"


def is_well(stack: Stack) -> bool:
    """By the doctor, who minds an order that is just on its way."""
    return stack.run_by_hand("cli", "doctor").returncode == 0


def what_is_recorded_can_be_evaluated(stack: Stack) -> str:
    stack.compose("--profile", "record", "up", "--detach", "--wait", "recorder")
    time.sleep(RECORDED_S)
    stack.compose("stop", "recorder")
    replayed = json.loads(stack.by_hand("cli", "replay", "/tapes", "--json"))
    assert replayed["events"] > 0, "nothing on the tape"
    reading = json.loads(stack.by_hand("cli", "evaluate", "/tapes", "--ledger", "--json"))
    return f"{replayed['events']} events in {RECORDED_S} s; the meter says {reading['verdict']}"


def the_ledger_sums_to_zero(stack: Stack) -> str:
    crooked = stack.number("select count(*) from (select from postings group by entry_id having sum(amount) <> 0) d")
    assert crooked == 0, f"{crooked} entries do not sum to zero"
    return f"{stack.number('select count(*) from entries')} entries"


ALL = {
    "trades": trades,
    "logs": logs_follow_an_opportunity,
    "stop": stop_is_a_kill_switch,
    "start": start_fires_nothing_stale,
    "scale": two_scanners_share_the_markets,
    "crash": a_crash_recovers,
    "again": trades_after_all_that,
    "cli": everything_can_be_done_from_a_container,
    "record": what_is_recorded_can_be_evaluated,
    "ledger": the_ledger_sums_to_zero,
}
