"""`python -m bench.gate`: how often a year of trading on paper opens the gate to real money, by the true edge.

Every fill is at a fair price with its fee and wins with the chance it costs plus the edge; the middle five seconds
later is that chance, seen with noise. The gate is asked every week, as an impatient owner would. Everything else is
left out (scores, controls, the doctor, the drill, a person's word): it can only keep the gate shut more often.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pmarb.domain.attribution import MARK_S
from pmarb.domain.bootstrap import clustered_mean
from pmarb.domain.evidence import Bet, Evidence, Paid
from pmarb.domain.gate import Mode, missing, recorded
from pmarb.domain.proportion import clopper_pearson
from pmarb.domain.values import NANOS, ONE

DAY_S: Final = 86_400
START_S: Final = 1_795_000_200 // 900 * 900
ON_PAPER: Final = (Mode(venue="polymarket", execution="paper", since_real=0),)
SCATTER: Final = 0.05
ROUNDS: Final = 200
WORDS: Final = {"outcomes": "if outcomes were enough", "with_marks": "with marks too"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """The week, from 1, in which each part of the gate was first passed; 0 for never."""

    outcomes: int
    with_marks: int


def live_a_year(seed: int, edge: float, a_day: int, days: int) -> Year:
    """One owner, who asks every week."""
    rng = random.Random(seed)
    bets: list[Bet] = []
    outcomes = with_marks = 0
    for day in range(days):
        bets += _day(rng, day, a_day, edge)
        if day % 7 != 6 or with_marks:
            continue
        if not missing(recorded(Evidence(bets=tuple(bets)), ON_PAPER)):
            outcomes = outcomes or day // 7 + 1
            marks = ((bet.window, float(bet.marks[MARK_S] - bet.filled.cost)) for bet in bets if bet.filled)
            found = clustered_mean(marks, rng, rounds=ROUNDS)
            if found is not None and found.low > 0:
                with_marks = day // 7 + 1
    return Year(outcomes=outcomes, with_marks=with_marks)


def _day(rng: random.Random, day: int, count: int, edge: float) -> Iterator[Bet]:
    for number in range(count):
        opens = START_S + day * DAY_S + number * (DAY_S // count)
        price = Decimal(rng.randint(25, 75)) / 100
        fee = Decimal("0.07") * price * (ONE - price)
        chance = float(price + fee) + edge
        middle = min(max(chance + rng.gauss(0, SCATTER), 0.01), 0.99)
        paid = Paid(shares=Decimal(5), price=price, fee=5 * fee)
        yield Bet(
            bet_id=f"{day}-{number}",
            window=f"btc-updown-5m-{opens}",
            underlying="btc",
            family="5m",
            outcome="Up",
            decided_at=(opens + 100) * NANOS,
            closes_at=(opens + 300) * NANOS,
            fair=price + Decimal("0.06"),
            se=Decimal("0.03"),
            ask=price,
            mid=price - Decimal("0.005"),
            expected=Decimal("0.04"),
            won=rng.random() < chance,
            filled=paid,
            marks={MARK_S: Decimal(str(round(middle, 6)))},
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="years to live (400)")
    parser.add_argument("--edge", type=float, default=0.0, help="true edge a share, cents (0)")
    parser.add_argument("--fills-a-day", type=int, default=20, help="paper fills a day (20)")
    parser.add_argument("--days", type=int, default=365, help="how long (365)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        lived = pool.map(
            live_a_year,
            range(args.runs),
            *([value] * args.runs for value in (args.edge / 100, args.fills_a_day, args.days)),
            chunksize=4,
        )
        years = []
        for year in lived:
            years.append(year)
            if len(years) % 20 == 0:
                sys.stderr.write(f"\r{len(years)} of {args.runs} years")
    sys.stderr.write("\n")
    report(years, edge=args.edge, as_json=args.json)


def report(years: list[Year], *, edge: float, as_json: bool) -> None:
    """Rates with exact 95 % intervals."""
    body: dict[str, object] = {"runs": len(years), "edge_cents": edge}
    for name in ("outcomes", "with_marks"):
        opened = sum(getattr(year, name) > 0 for year in years)
        low, high = clopper_pearson(opened, len(years))
        body[name] = {"opened": opened, "rate": opened / len(years), "low": low, "high": high}
        if not as_json:
            print(
                f"a true edge of {edge:+.1f}c opens the gate in {opened} of {len(years)} years: "
                f"{opened / len(years):.1%} [{low:.1%}, {high:.1%}], {WORDS[name]}"
            )
    if as_json:
        print(json.dumps(body))


if __name__ == "__main__":
    main()
