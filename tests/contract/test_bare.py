"""The statement of the hot path on a real PostgreSQL: woken, carried out, lost."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from pmarb.db.bare import BareStatement

DOUBLED = "SELECT 2 * %(number)s::int, pg_backend_pid()"


@pytest.fixture
async def statement(database_url: str) -> AsyncIterator[BareStatement]:
    made = BareStatement(database_url, DOUBLED)
    yield made
    made.close()


async def answer(statement: BareStatement, number: int) -> int:
    doubled, _ = await statement.run({"number": number})
    return int(doubled or b"")


async def test_a_session_is_woken_before_any_turn_and_answers_the_same(statement: BareStatement) -> None:
    statement.wake()  # Nothing is connected yet, and nothing happens
    assert await answer(statement, 1) == 2
    statement.wake()
    statement.wake()
    assert await answer(statement, 2) == 4
    statement.wake()
    await statement.rehearse({"number": 3})
    assert await answer(statement, 3) == 6


async def test_what_was_lost_while_it_rested_is_the_next_statements_to_say(
    statement: BareStatement, database_url: str
) -> None:
    _, session = await statement.run({"number": 1})
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (int(session or b""),))
    statement.wake()
    with pytest.raises(psycopg.OperationalError):
        await statement.run({"number": 2})
    statement.wake()
    assert await answer(statement, 2) == 4


async def test_what_is_launched_is_carried_out_though_nobody_waits_for_it_yet(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("CREATE TABLE launched (number int)")
        writing = BareStatement(database_url, "INSERT INTO launched VALUES (%(number)s::int) RETURNING number")
        await writing.run({"number": 1})
        writing.wake()
        time.sleep(0.2)  # noqa: ASYNC251 - the loop must not get to it: the woken session has answered by now
        launched = writing.launch({"number": 2})
        deadline = time.monotonic() + 10
        while other.execute("SELECT count(*) FROM launched").fetchone() != (2,):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # noqa: ASYNC251
        assert await launched == (b"2",)
        writing.close()


async def test_launches_take_turns_with_whatever_is_under_way(statement: BareStatement) -> None:
    await statement.run({"number": 0})
    rehearsing = asyncio.create_task(statement.rehearse({"number": 1}))
    await asyncio.sleep(0)
    launched = [statement.launch({"number": number}) for number in (2, 3)]
    found = await asyncio.gather(*launched, statement.run({"number": 4}), statement.launch({"number": 5}))
    await rehearsing
    assert [int(doubled or b"") for doubled, _ in found] == [4, 6, 8, 10]
    assert len({session for _, session in found}) == 1


async def test_a_rehearsal_waits_for_a_launch_and_does_not_hear_of_its_failure(database_url: str) -> None:
    dividing = BareStatement(database_url, "SELECT 1 / %(number)s::int")
    await dividing.run({"number": 1})
    failing = dividing.launch({"number": 0})
    rehearsing = asyncio.create_task(dividing.rehearse({"number": 1}))
    with pytest.raises(psycopg.errors.DivisionByZero):
        await failing
    await asyncio.gather(rehearsing, return_exceptions=True)  # The session that failed was closed under it
    assert await dividing.run({"number": 1}) == (b"1",)
    dividing.close()


async def test_a_launch_that_is_given_up_leaves_no_answer_behind_for_the_next(statement: BareStatement) -> None:
    await statement.run({"number": 0})
    given_up = asyncio.create_task(statement.launch({"number": 1}))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert await answer(statement, 2) == 4


async def test_a_session_that_was_lost_says_so_to_the_launch(statement: BareStatement, database_url: str) -> None:
    _, session = await statement.run({"number": 1})
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (int(session or b""),))
    time.sleep(0.2)  # noqa: ASYNC251 - gone by now, and the loop does not know
    with pytest.raises(psycopg.OperationalError):
        await statement.launch({"number": 2})
    assert await answer(statement, 2) == 4
