"""Marks for orders that were really sent, from what was recorded while they were."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from functools import partial

from pmarb.domain.evidence import MARK_SECONDS, Bet, Evidence, Paid
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.values import NANOS, ONE
from services.replay.engine import Engine


class Marker:
    """Looks up the middles after each bet's match, and the other outcome's price at it, in whatever tape holds them."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._marks: dict[str, dict[int, Decimal]] = defaultdict(dict)
        self._opposites: dict[str, Paid] = {}

    def ask(self, engine: Engine) -> None:
        """Before a recording runs."""
        for bet in self._evidence.bets:
            if bet.token and bet.matched_at:
                engine.agenda.at(bet.matched_at, partial(self._look_across, engine, bet))
                for seconds in MARK_SECONDS:
                    if bet.matched_at + seconds * NANOS <= bet.closes_at:
                        due = bet.matched_at + seconds * NANOS
                        engine.agenda.at(due, partial(self._mark, engine, bet, seconds))

    def marked(self, recorded: Evidence) -> Evidence:
        """The bets with what was found, beside the samples of the recording."""
        bets = tuple(
            replace(
                bet,
                marks={**bet.marks, **self._marks.get(bet.bet_id, {})},
                opposite=self._opposites.get(bet.bet_id, bet.opposite),
            )
            for bet in self._evidence.bets
        )
        return replace(self._evidence, bets=bets, samples=recorded.samples)

    def _mark(self, engine: Engine, bet: Bet, seconds: int, now: int) -> None:
        book = engine.recent(bet.token, now)
        if book is not None and book.mid is not None and not book.crossed:
            self._marks[bet.bet_id][seconds] = book.mid

    def _look_across(self, engine: Engine, bet: Bet, now: int) -> None:
        other = engine.other_of(bet.token)
        book = None if other is None else engine.recent(other, now)
        window = engine.of_token.get(bet.token)
        fees = None if window is None else window.market.fees
        if book is not None and book.asks and book.asks[0].price < ONE and isinstance(fees, FeeSchedule):
            price = book.asks[0].price
            self._opposites[bet.bet_id] = Paid(shares=ONE, price=price, fee=fees.fee(shares=ONE, price=price))
