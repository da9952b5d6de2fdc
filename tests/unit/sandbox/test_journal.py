"""The journal of a run: what is a line, what a crash may leave of it, and which runs may go on with it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from services.sandbox.chain import ADAPTER, SPLIT, Call
from services.sandbox.clock import SECOND_NS
from services.sandbox.journal import FILE, FileJournal, JournalError
from services.sandbox.money import MICRO
from services.sandbox.scenario import SCENARIOS
from services.sandbox.sessions import Session
from services.sandbox.settings import read_settings
from services.sandbox.wallets import address_of_key, key_from_seed
from services.sandbox.world import RunSettings, World

ROOT = Path(__file__).parents[3]
RUN = RunSettings(
    seed=7, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=1_795_000_000 * SECOND_NS, bankroll_usd=300
)


SEEDED = address_of_key(key_from_seed(seed=RUN.seed, index=1))


def lines(folder: Path) -> list[list[dict[str, object]]]:
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def written(folder: Path) -> None:
    """Three lines: the run, one fact, two facts."""
    journal = FileJournal(folder)
    journal.write("posted", wallet="0x1", order="too early")
    journal.begin({"is": "run", "version": 1})
    journal.write("posted", wallet="0x1", order="0xa")
    with journal.together():
        journal.write("accepted", order="0xa")
        with journal.together():
            journal.write("accepted", order="0xb")
    journal.close()


def test_what_belongs_together_is_one_line(tmp_path):
    written(tmp_path)
    assert lines(tmp_path) == [
        [{"is": "run", "version": 1}],
        [{"is": "posted", "wallet": "0x1", "order": "0xa"}],
        [{"is": "accepted", "order": "0xa"}, {"is": "accepted", "order": "0xb"}],
    ]
    journal = FileJournal(tmp_path)
    assert [(entry.line, len(entry.facts)) for entry in journal.past] == [(1, 1), (2, 1), (3, 2)]
    journal.close()


def test_what_happened_before_an_error_is_written(tmp_path):
    journal = FileJournal(tmp_path)
    journal.begin({"is": "run", "version": 1})
    with suppress(ValueError), journal.together():
        journal.write("accepted", order="0xa")
        raise ValueError
    assert lines(tmp_path)[1:] == [[{"is": "accepted", "order": "0xa"}]]
    journal.close()


@pytest.mark.parametrize("left", [b"[", b'[{"is":"accepted","order":"0x', b'[{"is":"accepted","order":"0xc"}]'])
def test_a_torn_last_line_is_dropped(tmp_path, left):
    written(tmp_path)
    with (tmp_path / FILE).open("ab") as file:
        file.write(left)
    journal = FileJournal(tmp_path)
    assert len(journal.past) == 3
    journal.begin({"is": "begun"})
    journal.close()
    assert lines(tmp_path)[3] == [{"is": "begun"}]


@pytest.mark.parametrize("damage", ["", "[{", '{"is":"posted"}', '[{"order":"0xa"}]', "[1]"])
def test_a_damaged_line_is_named(tmp_path, damage):
    written(tmp_path)
    rows = (tmp_path / FILE).read_text().splitlines()
    (tmp_path / FILE).write_text("\n".join([rows[0], damage, *rows[2:], ""]))
    with pytest.raises(JournalError, match=r"line 2 of .* is damaged .* delete it to begin a new run"):
        FileJournal(tmp_path)


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        ({"is": "dreamt"}, "dreamt"),
        ({"is": "posted", "wallet": "0x1", "order": "0xa"}, "no account 0x1"),
        ({"is": "status", "trade": "none", "status": "MINED", "at": 1}, "none"),
        ({"is": "moved", "wallet": SEEDED, "lines": [{"kind": "GIFT", "at": 1}]}, "unknown kind GIFT"),
        ({"is": "closed", "market": "no-such-market"}, "no-such-market"),
    ],
)
def test_a_fact_that_cannot_have_happened_is_named(tmp_path, fact, why):
    journal = FileJournal(tmp_path)
    World(RUN, journal)
    journal.write(fact.pop("is"), **fact)
    journal.close()
    number = len(lines(tmp_path))
    journal = FileJournal(tmp_path)
    with pytest.raises(JournalError, match=rf"line {number} of .*{why}"):
        World(RUN, journal)
    journal.close()


def test_a_folder_belongs_to_one_sandbox_at_a_time(tmp_path):
    first = FileJournal(tmp_path)
    with pytest.raises(JournalError, match="another sandbox works with"):
        FileJournal(tmp_path)
    first.close()
    FileJournal(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="name a folder"):
        FileJournal(tmp_path / "file" / "folder")


def start(folder: Path, *arguments: str) -> RunSettings:
    """The run that this command line would go on with; its journal is let go of."""
    run, journal = read_settings(["--state", str(folder), "--anchor-ns", "5", *arguments], {}).begin()
    World(run, journal)
    assert isinstance(journal, FileJournal)
    journal.close()
    return run


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--seed", "2", "SANDBOX_SEED is 2, but .* holds a run with 1"),
        ("--scenario", "instant", "SANDBOX_SCENARIO is instant, but .* holds a run with efficient"),
        ("--speed", "10", "CLOCK_SPEED is 10, but .* holds a run with 1:"),
        ("--families", "5m", "SANDBOX_FAMILIES is 5m, but .* holds a run with 15m,5m"),
        ("--bankroll", "500", "BANKROLL_USD is 500, but .* holds a run with 300"),
        ("--anchor-ns", "6", "CLOCK_ANCHOR_NS is 6, but .* holds a run with 5"),
    ],
)
def test_a_run_with_other_terms_is_refused_and_says_what_to_do(tmp_path, option, value, told):
    start(tmp_path)
    with pytest.raises(JournalError, match=rf"{told}.*set it back.*docker compose down --volumes"):
        start(tmp_path, option, value)


def test_an_anchor_that_is_not_stated_is_that_of_the_run(tmp_path):
    start(tmp_path)
    run, journal = read_settings(["--state", str(tmp_path), "--families", "15m,5m"], {}).begin()
    assert run.anchor_ns == 5
    assert isinstance(journal, FileJournal)
    journal.close()


def test_another_version_of_the_journal_is_refused(tmp_path):
    written(tmp_path)
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace('"version":1', '"version":2'))
    with pytest.raises(JournalError, match=r"line 1 .* version 1"):
        read_settings([], {"SANDBOX_STATE": str(tmp_path)}).begin()


def test_each_life_has_its_own_trade_ids(tmp_path):
    tags = []
    for _ in range(3):
        journal = FileJournal(tmp_path)
        tags.append(World(RUN, journal).exchange._run_tag)
        journal.close()
    assert tags == [f"7:{RUN.anchor_ns}", f"7:{RUN.anchor_ns}:1", f"7:{RUN.anchor_ns}:2"]


@pytest.fixture
def lived(tmp_path) -> Iterator[Callable[[], World]]:
    """Each call kills the world before it, and brings it back; time stands still."""
    journals: list[FileJournal] = []

    def live() -> World:
        for journal in journals:
            journal.close()
        journals[:] = [FileJournal(tmp_path)]
        world = World(RUN, journals[0])
        world.clock.now_ns = lambda: RUN.anchor_ns  # type: ignore[method-assign]
        return world

    yield live
    journals[0].close()


def test_a_batch_on_its_way_is_carried_out_after_a_crash_and_its_nonce_is_used(lived):
    world = lived()
    world.settlement.step(RUN.anchor_ns)
    market, owner = world.markets.live()[0], world.seeded[0]
    words = [0, 0, int(market.condition_id, 16), 160, 10 * MICRO, 2, 1, 2]
    data = SPLIT + b"".join(word.to_bytes(32, "big") for word in words)
    sent = world.relayer._queue(owner, "WALLET", [Call(target=ADAPTER, value=0, data=data)])
    for _ in range(2):
        world = lived()
        assert world.relayer.submissions[sent.id].state == "STATE_NEW"
        assert world.relayer.nonce(owner.address) == 1
    for later in range(1, 6):
        world.relayer.step(RUN.anchor_ns + later * SECOND_NS)
    owner = world.seeded[0]
    assert (owner.cash, owner.shares(market.tokens[0])) == (290 * MICRO, 10 * MICRO)
    world = lived()
    world.relayer.step(RUN.anchor_ns + 9 * SECOND_NS)
    assert world.relayer.submissions[sent.id].state == "STATE_CONFIRMED"
    assert world.seeded[0].cash == 290 * MICRO
    assert world.relayer._queue(world.seeded[0], "WALLET", []).id != sent.id


def test_session_keys_outlive_a_crash_and_revoked_ones_do_not_come_back(lived):
    world, until_s = lived(), 2 * RUN.anchor_ns // SECOND_NS
    owner, signers = world.seeded[0], [address_of_key(key_from_seed(seed=99, index=n)) for n in range(3)]
    for signer in signers:
        world.sessions.propose(Session(signer=signer, owner=owner, scopes=("CLOB",)))
    for signer in signers[:2]:
        world.sessions.confirm(owner, signer, until_s=until_s)
    world.sessions.revoke(owner, signers[1])
    world = lived()
    owner = world.seeded[0]
    assert [(each.signer, each.scopes, each.until_s) for each in world.sessions.of(owner)] == [
        (signers[0], ("CLOB",), until_s)
    ]
    assert [world.sessions.knows(owner, signer) for signer in signers] == [True, False, True]


def test_keys_are_those_that_were_left(lived):
    world = lived()
    address = world.seeded[0].address
    spare = world.keys.issue(address, 5)
    world.keys.delete(world.keys.issue(address, 6))
    builders = [world.keys.issue_builder(address) for _ in range(2)]
    world.keys.revoke_builder(builders[0].key)
    shown = [world.keys.issue_read_only(address) for _ in range(2)]
    world.keys.delete_read_only(address, shown[1])
    first = world.keys.of_address(address)[0]
    world = lived()
    assert world.keys.of_address(address) == [first, spare]
    assert world.keys.builders_of(address) == [builders[1]]
    assert world.keys.read_only_of(address) == [shown[0]]


def test_markets_that_came_and_went_meanwhile_exist(lived):
    world = lived()
    world.settlement.step(RUN.anchor_ns)
    known = {market.slug: market.created_ns for market in world.markets.by_slug.values()}
    world = lived()
    later_ns = RUN.anchor_ns + 7200 * SECOND_NS
    world.settlement.catch_up(later_ns)
    world.settlement.step(later_ns)
    slugs = {
        f"btc-updown-5m-{start}" for start in range(RUN.anchor_ns // SECOND_NS // 300 * 300, later_ns // SECOND_NS, 300)
    }
    assert slugs <= world.markets.by_slug.keys()
    assert {slug: world.markets.by_slug[slug].created_ns for slug in known} == known
    ended = {market.slug: market.winner for market in world.markets.by_slug.values() if market.closed}
    assert len(ended) > 40
    again = lived()
    assert {market.slug: market.winner for market in again.markets.by_slug.values() if market.closed} == ended


def test_without_a_state_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, journal = read_settings([], {}).begin()
    World(replace(run, scenario=SCENARIOS["instant"]), journal)
    assert journal.past == ()
    assert list(tmp_path.iterdir()) == []


FILLING = """
import resource, sys
from pathlib import Path
from services.sandbox.journal import FileJournal
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = FileJournal(Path(sys.argv[1]))
journal.begin({"is": "run", "version": 1})
while True:
    journal.write("accepted", order="0xa")
    print("told", flush=True)
"""


def test_what_cannot_be_written_is_not_told(tmp_path):
    """A full disk ends the process, and every line that was told is there."""
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "journal_failed" in done.stderr
    journal = FileJournal(tmp_path)
    assert len(journal.past) - 1 == done.stdout.count("told") > 0
    journal.close()
