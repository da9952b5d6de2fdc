"""Messages with every field filled in, so that a test names only what it is about."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from pmarb.domain.messages import Approval, ApprovedLeg, Fill, Leg, Opportunity, OrderUpdate, Settlement
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import NANOS, Side

NOW = 1_790_000_000 * NANOS
"""A venue time: the start of a five-minute window."""


def a_leg(**changes: Any) -> Leg:
    leg = Leg(
        market="0xmarket",
        token="1001",
        outcome="Up",
        side=Side.BUY,
        limit=Decimal("0.50"),
        price=Decimal("0.50"),
        shares=Decimal(40),
        tick=Decimal("0.01"),
        fee=Decimal("0.70"),
        fee_rate=Decimal("0.07"),
        fee_exponent=Decimal(1),
        book_hash="book",
        book_ts_event=NOW + 100 * NANOS,
        book_ts_init=NOW + 100 * NANOS,
    )
    return replace(leg, **changes)


def an_opportunity(**changes: Any) -> Opportunity:
    opportunity = Opportunity(
        opportunity_id="opp-1",
        strategy="updown_twap",
        legs=(a_leg(),),
        fair=Decimal("0.62"),
        fair_se=Decimal("0.03"),
        mid=Decimal("0.495"),
        gross_edge=Decimal("0.12"),
        fee=Decimal("0.0175"),
        net_edge=Decimal("0.1025"),
        threshold=Decimal("0.06"),
        bound_by="k_se",
        slug="btc-updown-5m-1790000000",
        event="btc-updown-5m-1790000000",
        underlying="btc",
        family="5m",
        opens_at=NOW,
        expiry=NOW + 300 * NANOS,
        expires_at=NOW + 103 * NANOS,
        spot_ts_init=NOW + 100 * NANOS,
        reference_ts_init=NOW + 99 * NANOS,
        ts_event=NOW + 100 * NANOS,
        ts_init=NOW + 100 * NANOS,
    )
    return replace(opportunity, **changes)


def a_set_leg(number: int, *, price: str = "0.45", **changes: Any) -> Leg:
    """A leg in a market of its own."""
    cost = Decimal(price)
    own: dict[str, Any] = {
        "market": f"0xm{number}",
        "token": f"t{number}",
        "other_token": f"u{number}",
        "outcome": "Yes",
        "other_outcome": "No",
        "price": cost,
        "limit": cost,
        "bid": cost - Decimal("0.01"),
        "slug": f"m{number}",
        "event": f"e{number}",
        "family": "above",
        "expiry": NOW + 3600 * NANOS,
    }
    return a_leg(**(own | changes))


def a_set(*prices: str, **changes: Any) -> Opportunity:
    """One that pays a dollar at least."""
    legs = tuple(a_set_leg(number, price=price) for number, price in enumerate(prices or ("0.45", "0.40")))
    own: dict[str, Any] = {
        "legs": legs,
        "strategy": "bundle_pair",
        "fair": Decimal(1),
        "fair_se": Decimal(0),
        "mid": Decimal("0.85"),
        "slug": "m0",
        "event": "e0",
        "family": "above",
        "expiry": NOW + 3600 * NANOS,
        "threshold": Decimal("0.03"),
    }
    return an_opportunity(**(own | changes))


def an_approval(**changes: Any) -> Approval:
    leg = a_leg()
    approval = Approval(
        opportunity_id="opp-1",
        legs=(
            ApprovedLeg(
                leg=leg,
                shares=Decimal(6),
                limit=leg.limit,
                usd=Decimal("3.00"),
                reserved=Decimal("3.105"),
            ),
        ),
        reserved=Decimal("3.105"),
        bound_by="order_usd",
        slug="btc-updown-5m-1790000000",
        event="btc-updown-5m-1790000000",
        underlying="btc",
        family="5m",
        expiry=NOW + 300 * NANOS,
        expires_at=NOW + 103 * NANOS,
        fair=Decimal("0.62"),
        threshold=Decimal("0.06"),
        ts_event=NOW + 100 * NANOS,
        ts_init=NOW + 100 * NANOS,
    )
    return replace(approval, **changes)


def a_settlement(**changes: Any) -> Settlement:
    settlement = Settlement(
        token="1001",
        market="0xmarket",
        slug="btc-updown-5m-1790000000",
        outcome="Up",
        won=True,
        shares=Decimal(6),
        cost=Decimal("3.00"),
        fees=Decimal("0.105"),
        payout=Decimal(6),
        pnl=Decimal("2.895"),
        equity=Decimal("302.895"),
        ts_event=NOW + 354 * NANOS,
        ts_init=NOW + 354 * NANOS,
    )
    return replace(settlement, **changes)


def order_of(approval: Approval, state: OrderState) -> OrderUpdate:
    """Of its first leg, nothing of it filled."""
    leg = approval.legs[0]
    return OrderUpdate(
        opportunity_id=approval.opportunity_id,
        leg=0,
        order_hash=f"0x{approval.opportunity_id}",
        state=state,
        cause="",
        slug=approval.slug,
        market=leg.leg.market,
        token=leg.leg.token,
        outcome="Up",
        side=Side.BUY,
        price=leg.limit,
        shares=leg.shares,
        reserved=leg.reserved,
        filled=Decimal(0),
        ts_event=approval.ts_init,
        ts_init=approval.ts_init,
    )


def fill_of(approval: Approval, status: FillStatus) -> Fill:
    """Of its whole first leg, at the limit."""
    leg = approval.legs[0]
    return Fill(
        trade_id=f"trade-{approval.opportunity_id}",
        order_hash=f"0x{approval.opportunity_id}",
        opportunity_id=approval.opportunity_id,
        slug=approval.slug,
        market=leg.leg.market,
        token=leg.leg.token,
        outcome="Up",
        side=Side.BUY,
        shares=leg.shares,
        price=leg.limit,
        fee=leg.reserved - leg.usd,
        status=status,
        ts_event=approval.ts_init,
        ts_init=approval.ts_init,
    )
