"""The integers on the wire, over every tick and every order type: exact, never worse than the limit, never refused.

The official client rounds what it is given by a table of its own; an amount of ours must come through it unchanged.
"""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polymarket._internal.actions.orders.limit import _compute_limit_order_amounts
from polymarket._internal.actions.orders.market import _compute_market_order_amounts

from pmarb.domain.book import Book, Level
from pmarb.domain.messages import ApprovedLeg
from pmarb.domain.orders import OrderType
from pmarb.domain.values import CENT, MICRO, Side
from pmarb.venue.port import Intent
from services.executor.decide import Skip, exact_step, plan
from tests.builders import NOW, a_leg, an_approval

TICKS = ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")
TYPES = tuple(OrderType)


@st.composite
def planned(draw: st.DrawFn, tick: Decimal) -> tuple[Intent, Decimal, Decimal, Decimal]:
    """(intent, ask, approved limit, approved dollars), whenever there is an order at all."""
    ask = draw(st.integers(1, int(1 / tick) - 1)) * tick
    limit = min(ask + draw(st.integers(0, 8)) * tick, 1 - tick)
    usd = draw(st.decimals("1", "20", places=2))
    size = draw(st.decimals("0.01", "5000", places=2))
    leg = ApprovedLeg(
        leg=a_leg(limit=limit, tick=tick, fee_rate=Decimal(0)), shares=size, limit=limit, usd=usd, reserved=usd * 2
    )
    book = Book(token="1001", bids=(), asks=(Level(ask, size),), ts_event=NOW, ts_init=NOW, tick=tick)
    approval = an_approval(legs=(leg,), fair=Decimal(1), threshold=Decimal(-1), expires_at=NOW)
    found = plan(approval, leg, book, now=NOW)
    if isinstance(found, Skip):
        step = exact_step(limit)  # Nothing fits: then the smallest exact order there is, so that every price is tried
        found = Intent(
            market="0xmarket", token="1001", side=Side.BUY, order_type=OrderType.FAK, limit=limit, usd=step * limit,
            shares=step,
        )  # fmt: skip
        return found, ask, limit, found.usd
    return found, ask, limit, usd


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("tick", TICKS)
@given(st.data())
def test_amounts_are_exact_fillable_and_within_the_cap(tick: str, kind: OrderType, data: st.DataObject) -> None:
    step = Decimal(tick)
    intent, ask, limit, cap = data.draw(planned(step))
    maker, taker = wire(intent, kind, step)
    assert (maker, taker) == (intent.usd / MICRO, intent.shares / MICRO), "the client changed the amounts"
    assert maker == int(maker)
    assert taker == int(taker)
    implied = Decimal(int(maker)) / Decimal(int(taker))
    assert ask <= implied <= limit, "worse than the limit, or below the ask: unfillable"
    assert implied % step == 0, "off the tick"
    assert intent.usd <= cap
    # Both rules of the server: 2 decimals of dollars and 4 of shares for FOK and FAK, 4 and 2 for GTC and GTD
    assert intent.usd % CENT == 0
    assert intent.shares % CENT == 0


def wire(intent: Intent, kind: OrderType, tick: Decimal) -> tuple[Decimal, Decimal]:
    """(maker amount, taker amount) as the official client computes them for a BUY, in millionths."""
    if kind in (OrderType.GTC, OrderType.GTD):
        maker, taker = _compute_limit_order_amounts(side="BUY", size=intent.shares, price=intent.limit, tick_size=tick)
    else:
        maker, taker = _compute_market_order_amounts(side="BUY", amount=intent.usd, price=intent.limit, tick_size=tick)
    return Decimal(maker), Decimal(taker)


def test_the_amounts_that_made_a_bots_orders_unfillable_are_not_made() -> None:
    """py-sdk#291: a dollar at 0.07 with the shares rounded up implies less than the ask, which nobody sells for."""
    rounded_up = Decimal("14.2858")
    assert 1 / rounded_up < Decimal("0.07")
    shares = exact_step(Decimal("0.07"))
    assert shares * Decimal("0.07") % CENT == 0
    intent = Intent(
        market="m", token="1", side=Side.BUY, order_type=OrderType.FAK, limit=Decimal("0.07"),
        usd=shares * 20 * Decimal("0.07"), shares=shares * 20,
    )  # fmt: skip
    maker, taker = wire(intent, OrderType.FAK, Decimal("0.01"))
    assert maker / taker == Decimal("0.07")
