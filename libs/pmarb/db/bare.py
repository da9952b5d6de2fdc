"""One prepared statement on a connection of its own, spoken through libpq itself: the durable write of the hot path.

After a rest of a fifth of a second psycopg's cursor costs half a millisecond more than this, a quarter of the write.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Final, LiteralString

from psycopg import DatabaseError, Error, OperationalError, errors, pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn, PGresult

from pmarb.db.pool import ANSWER_WITHIN, CONNECT_WITHIN

_NAME: Final = b"bare"
_PLAN_ONCE: Final = b"SET plan_cache_mode = force_generic_plan"
_OK: Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

Row = tuple[bytes | None, ...]
_Answer = asyncio.Future[list[PGresult]]


class BareStatement:
    """Connects when first used and again after a loss; never runs a statement twice. Callers take turns.

    Raises psycopg's errors: OperationalError when the database is away or was lost, and then nobody knows whether the
    statement was carried out.
    """

    def __init__(self, dsn: str, query: LiteralString) -> None:
        """`query` names its values `%(name)s`."""
        self._dsn = make_conninfo(dsn, connect_timeout=CONNECT_WITHIN).encode()
        self._names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", query)))
        self._query = re.sub(r"%\((\w+)\)s", lambda found: f"${self._names.index(found[1]) + 1}", query).encode()
        self._turn = asyncio.Lock()
        self._link: _Link | None = None

    async def run(self, values: Mapping[str, object]) -> Row:
        """Carry it out in a transaction of its own; its first row."""
        words = self._words(values)
        async with self._turn:
            link = await self._connected()
            with _closing_unless_done(link):
                return _row(await link.exchange(lambda connection: connection.send_query_prepared(_NAME, words)))

    def launch(self, values: Mapping[str, object]) -> Coroutine[Any, Any, Row]:
        """Send it before this returns, if the session is free; what it answers is to be awaited all the same."""
        link = self._link
        if link is None or self._turn.locked() or not link.free():
            return self.run(values)
        words = self._words(values)
        with _closing_unless_done(link):
            answer = link.send(lambda connection: connection.send_query_prepared(_NAME, words))
        return self._launched(link, answer)

    async def _launched(self, link: "_Link", answer: _Answer) -> Row:
        with _closing_unless_done(link):
            return _row(await link.result(answer))

    async def rehearse(self, values: Mapping[str, object]) -> None:
        """Carry it out, deferred checks too, and take it back: the next finds plans, pages and caches ready."""
        words = self._words(values)
        async with self._turn:
            link = await self._connected()
            with _closing_unless_done(link):
                await link.exchange(lambda connection: connection.send_query(b"BEGIN; SET CONSTRAINTS ALL IMMEDIATE"))
                await link.exchange(lambda connection: connection.send_query_prepared(_NAME, words))
                await link.exchange(lambda connection: connection.send_query(b"ROLLBACK"))

    def wake(self) -> None:
        """The statement comes in a moment: a session that rests takes as long to wake as to carry it out."""
        if self._link is not None and self._link.free() and not self._turn.locked():
            with contextlib.suppress(Error):  # The statement itself will find out
                self._link.wake()

    def close(self) -> None:
        if self._link is not None:
            self._link.close()

    def _words(self, values: Mapping[str, object]) -> list[bytes]:
        return [str(values[name]).encode() for name in self._names]

    async def _connected(self) -> "_Link":
        if self._link is None or self._link.closed:
            self._link = None
            connection = await asyncio.to_thread(pq.PGconn.connect, self._dsn)
            if connection.status != pq.ConnStatus.OK:
                raise OperationalError(connection.get_error_message())
            link = _Link(connection)
            with _closing_unless_done(link):
                await link.exchange(lambda connection: connection.send_query(_PLAN_ONCE))
                await link.exchange(lambda connection: connection.send_prepare(_NAME, self._query))
            self._link = link
        return self._link


class _Link:
    """A connection whose answers the loop is told of."""

    def __init__(self, connection: PGconn) -> None:
        self._connection = connection
        self._answer: _Answer | None = None
        self._results: list[PGresult] = []
        self.closed = False
        connection.nonblocking = 1
        self._socket = connection.socket
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._readable)

    def free(self) -> bool:
        """Whether it could be asked something now."""
        return not self.closed and (self._answer is None or self._answer.done())

    def wake(self) -> None:
        """Have a free session look up, by the one message that nothing answers: what it is asked next need not wait."""
        self._connection.send_flush_request()
        self._connection.flush()

    def send(self, ask: Callable[[PGconn], None]) -> _Answer:
        """Ask a free session, now."""
        self._answer, self._results = self._loop.create_future(), []
        self._answer.add_done_callback(_seen)
        ask(self._connection)
        self._connection.flush()
        return self._answer

    async def result(self, answer: _Answer) -> PGresult:
        """The last of what was answered."""
        while self._connection.flush():  # noqa: ASYNC110 - a socket's buffer holds a hundred such statements
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                results = await answer
        except TimeoutError:
            raise OperationalError(f"no answer within {ANSWER_WITHIN:g} s") from None
        for result in results:
            if result.status not in _OK:
                raise _error_of(result)
        return results[-1]

    async def exchange(self, ask: Callable[[PGconn], None]) -> PGresult:
        """Ask when it is free, and wait for all of the answer; its last result."""
        while self._answer is not None and not self._answer.done():  # Its failure is told to whoever sent it
            await asyncio.wait({self._answer})
        return await self.result(self.send(ask))

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        self._connection.finish()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(OperationalError("the connection was closed"))

    def _readable(self) -> None:
        answer = self._answer
        try:
            self._connection.consume_input()
            while not self._connection.is_busy():
                result = self._connection.get_result()
                if result is None:
                    if answer is not None and not answer.done() and self._results:
                        answer.set_result(self._results)
                    return
                self._results.append(result)
        except OperationalError as error:
            if answer is not None and not answer.done():
                answer.set_exception(error)
            self.close()


def _seen(answer: _Answer) -> None:
    """An error is for who waits for it, or the next statement's to raise."""
    if not answer.cancelled():
        answer.exception()


@contextlib.contextmanager
def _closing_unless_done(link: _Link) -> Iterator[None]:
    """A late answer would be taken for the next statement's, and an error may have ended the session."""
    try:
        yield
    except BaseException:
        link.close()
        raise


def _row(result: PGresult) -> Row:
    return tuple(result.get_value(0, column) for column in range(result.nfields))


def _error_of(result: PGresult) -> Error:
    code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    try:
        kind: type[Error] = errors.lookup(code)
    except KeyError:
        kind = DatabaseError
    return kind(result.get_error_message())
