"""The pure parts: a message through the codec, a walk, a limit price, a judgement."""

import json
from decimal import Decimal

from bench.measure import Measured, compared, timed
from pmarb import codec
from pmarb.domain.book import Level, walk
from pmarb.domain.edge import max_buy_price
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.limits import Limits
from pmarb.domain.values import NANOS, Side
from services.risk.decide import judge
from services.risk.portfolio import Portfolio
from tests.builders import NOW, an_opportunity

ROUNDS = 3000


def run() -> list[Measured]:
    """Each against the standard library's JSON of one opportunity, decoded: what a reader cannot do without."""
    opportunity = an_opportunity()
    fields = codec.encode(opportunity)
    body, fees = fields[b"body"], FeeSchedule(Decimal("0.07"))
    levels = tuple(Level(Decimal(50 + n) / 100, Decimal(40)) for n in range(6))
    portfolio, limits, at = Portfolio(capital=Decimal(300)), Limits(), NOW + 100 * NANOS
    base = timed(lambda: json.loads(body), rounds=ROUNDS)
    parts = {
        "decode an opportunity": lambda: codec.decode(fields),
        "encode an opportunity": lambda: codec.encode(opportunity),
        "walk six levels to a budget": lambda: walk(levels, side=Side.BUY, fees=fees, budget=Decimal(60)),
        "highest buy price": lambda: max_buy_price(
            fair=Decimal("0.57"), min_edge=Decimal("0.02"), fees=fees, tick=Decimal("0.01")
        ),
        "judge an opportunity": lambda: judge(opportunity, portfolio, limits, now=at),
    }
    return [compared(name, timed(part, rounds=ROUNDS), "json.loads of it", base) for name, part in parts.items()]
