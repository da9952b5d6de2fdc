"""Things to do at a time of the tape: matches, marks, samples. In order of time, then of asking."""

import heapq
from collections.abc import Callable
from typing import Final

Action = Callable[[int], None]
NEVER: Final = 1 << 62


class Agenda:
    """`next_due` is a plain attribute because the replay looks at it before every event."""

    __slots__ = ("_number", "_waiting", "next_due")

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Action]] = []
        self._number = 0
        self.next_due = NEVER

    def at(self, due: int, action: Action) -> None:
        """Call `action(due)` once the tape is past `due`: with all that was known by then and nothing later."""
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, action))
        self.next_due = self._waiting[0][0]

    def run(self, *, until: int) -> None:
        """Do what is due by `until`, actions asked for meanwhile included."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= until:
            due, _, action = heapq.heappop(waiting)
            action(due)
        self.next_due = waiting[0][0] if waiting else NEVER
