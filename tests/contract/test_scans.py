"""What the scanner passed over: counted once, together and by market, and made fewer rows after some days."""

from dataclasses import replace

from pmarb.db import scans, views, why
from pmarb.db.pool import Connection
from pmarb.domain.messages import Scanned
from pmarb.domain.values import NANOS

SPAN = scans.SPAN
START = 1_790_000_400 * NANOS


def a_scan(at: int, slug: str = "m1", **skips: int) -> Scanned:
    return Scanned(slug=slug, since=at - 10 * NANOS, looks=sum(skips.values()) + 1, found=1, skips=skips,
                   gates=(("at", str(at), "", True),), ts_event=at, ts_init=at)  # fmt: skip


async def test_ten_minutes_become_one_row_a_market_and_no_count_is_lost(database_url: str) -> None:
    two = [a_scan(START + n * 10 * NANOS, slug, edge_too_thin=n, **({"no_book": 1} if n % 2 else {}))
           for slug in ("m1", "m2") for n in range(1, 100)]  # fmt: skip
    never = replace(a_scan(START + 5 * NANOS, "m3"), looks=0, found=0)
    async with await Connection.connect(database_url, autocommit=True) as connection:
        await scans.store(connection, [*two, never])
        await scans.store(connection, two[:7])  # Told twice
        with views.connect(database_url) as ledger:
            before = why.funnel(ledger, at=START)
            exact = why.looked_at(ledger, "m1", at=START + 300 * NANOS)
        assert not await scans.compact(connection, before=START + SPAN + 5)
        assert not await scans.compact(connection, before=START + SPAN + 5), "and again: nothing to do"
        cursor = await connection.execute("SELECT slug, count(*) FROM scans GROUP BY slug ORDER BY slug")
        left: dict[str, int] = dict(await cursor.fetchall())
    with views.connect(database_url) as ledger:
        assert why.funnel(ledger, at=START) == before
        found = why.looked_at(ledger, "m1", at=START + 300 * NANOS)
        kept = why.looked_at(ledger, "m1", at=START + 900 * NANOS)
    assert exact is not None
    assert (exact.until, exact.looks) == (START + 300 * NANOS, 31)
    assert found is not None
    assert (found.since, found.until) == (START, START + 590 * NANOS)
    assert found.skips == {"edge_too_thin": sum(range(1, 60)), "no_book": 30}
    assert (found.looks, found.found) == (sum(range(60)) + 30 + 59, 59)
    assert [gate[1] for gate in found.last] == [str(START + 590 * NANOS)]
    assert kept is not None
    assert kept.until - kept.since == 10 * NANOS, "younger ones stay as they are"
    assert left == {"": 2, "m1": 41, "m2": 41, "m3": 1}
    assert before.looks == 2 * (sum(range(1, 100)) + 50 + 99)
    assert {count.name: count.count for count in before.skips} == {"edge_too_thin": 2 * sum(range(100)), "no_book": 100}


async def test_a_backlog_is_taken_in_small_bites(database_url: str) -> None:
    many = [a_scan(START + (n % 3) * NANOS, f"m{n // 3}", edge_too_thin=1) for n in range(3 * (scans.AT_ONCE + 1))]
    async with await Connection.connect(database_url, autocommit=True) as connection:
        await scans.store(connection, many)
        assert await scans.compact(connection, before=START + SPAN)
        assert not await scans.compact(connection, before=START + SPAN)
        cursor = await connection.execute("SELECT count(*) FROM scans WHERE slug <> ''")
        assert await cursor.fetchone() == (scans.AT_ONCE + 1,)
