"""The sports socket: scores of the games that are played, to everybody who connects (venue.md 6.3).

The server says "ping" and hangs up on who does not answer "pong"; both in real time, as they are about the connection.
A score is a pure function of seed, game and time, and ends in favour of the outcome that wins the market.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from starlette.websockets import WebSocket, WebSocketState

from services.sandbox.clock import VenueClock, wall_seconds
from services.sandbox.fair import Values
from services.sandbox.markets import Market, Markets
from services.sandbox.streams import Connection, Hub

PING_S, PONG_S = 5.0, 10.0
NO_PONG = 1008
LEAGUE = "sbx"
GOALS_MAX = 5
# Halves of 45 minutes and a break, stretched over whatever a game lasts.
HALF, BREAK = 0.43, 0.57
MINUTES = 90


class SportsClient(Connection):
    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        super().__init__(socket, clock)
        self.answered_s = wall_seconds()


class Sports:
    """Serves the socket; `step` must be called about once a venue second."""

    def __init__(self, *, clock: VenueClock, markets: Markets, values: Values, seed: int) -> None:
        self.hub: Hub[SportsClient] = Hub()
        self._clock = clock
        self._markets = markets
        self._values = values
        self._seed = seed
        self._told: dict[str, dict[str, Any]] = {}
        self._goals: dict[str, list[tuple[int, int]]] = {}

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        client = SportsClient(socket, self._clock)
        for state in self._told.values():
            if state["live"]:
                client.push_json(state)
        heart = asyncio.create_task(self._beat(client))
        try:
            await self.hub.serve(client, on_text=_on_text)
        finally:
            heart.cancel()

    def step(self, second: int) -> None:
        """Tell what has changed: kick-off, a goal, a half, the end."""
        for market in self._markets.live():
            if not market.terms.game:
                continue
            state = self.state(market, second)
            before = self._told.get(market.slug)
            if before is None or any(state[name] != before[name] for name in ("status", "score", "period")):
                self._told[market.slug] = state
                if before is not None or state["live"]:
                    self._tell(state)

    def state(self, market: Market, second: int) -> dict[str, Any]:
        """The game as it stands at a venue second."""
        terms = market.terms
        played = (second - terms.start) / (terms.end - terms.start)
        goals = [team for at, team in self._goals_of(market) if at <= second]
        ended = played >= 1
        state = {
            "gameId": market.number,
            "leagueAbbreviation": LEAGUE,
            "slug": market.slug,
            "homeTeam": market.labels[0],
            "awayTeam": market.labels[1],
            "status": "Scheduled" if played < 0 else "Final" if ended else "InProgress",
            "score": f"{goals.count(0)}-{goals.count(1)}",
            "period": _period(played),
            "elapsed": str(max(0, min(MINUTES, int(played * MINUTES)))),
            "live": 0 <= played < 1,
            "ended": ended,
        }
        return state | ({"finished_timestamp": terms.end * 1000} if ended else {})

    def _tell(self, state: dict[str, Any]) -> None:
        for client in self.hub.each():
            client.push_json(state)

    def _goals_of(self, market: Market) -> list[tuple[int, int]]:
        """(venue second, team) of every goal; the winner of the market scores the most."""
        if market.slug not in self._goals:
            rng, terms = Random(f"{self._seed}:{market.slug}:goals"), market.terms
            winner = self._values.answer(market) or 0
            loser_goals = rng.randrange(GOALS_MAX)
            teams = [1 - winner] * loser_goals + [winner] * (loser_goals + 1 + rng.randrange(2))
            self._goals[market.slug] = sorted((rng.randrange(terms.start + 60, terms.end - 60), team) for team in teams)
        return self._goals[market.slug]

    async def _beat(self, client: SportsClient) -> None:
        while True:
            client.answer("ping")
            await asyncio.sleep(PING_S)
            if wall_seconds() - client.answered_s > PONG_S:
                break
        if client.socket.application_state is WebSocketState.CONNECTED:
            await client.socket.close(code=NO_PONG, reason="no pong")


def _on_text(client: SportsClient, text: str) -> None:
    if text.strip().lower() == "pong":
        client.answered_s = wall_seconds()


def _period(played: float) -> str:
    if played < 0:
        return "NS"
    if played >= 1:
        return "FT"
    return "1H" if played < HALF else "HT" if played < BREAK else "2H"
