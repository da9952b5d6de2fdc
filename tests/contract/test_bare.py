"""The statement of the hot path on a real PostgreSQL: woken, carried out, lost."""

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
