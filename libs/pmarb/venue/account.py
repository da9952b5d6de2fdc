"""Our part of what the venue reports: trades from the CLOB, positions and redemptions from the Data API."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final

from polymarket.models.clob.account import ClobTrade, MakerOrder

from pmarb.domain.fees import Fees
from pmarb.domain.orders import FillStatus, Trade
from pmarb.domain.values import EXACT, MICRO, NANOS, ONE, ZERO, Side, round_down, round_up
from pmarb.venue.parse import ParseError, number
from pmarb.venue.port import EntryFees, Redemption, VenueMerge, VenuePosition, VenueTrade

PRICE_GRID: Final = Decimal("1e-12")
"""Fine enough that shares times price finds the paid millionth again."""

_FINAL: Final = {"CONFIRMED": FillStatus.CONFIRMED, "FAILED": FillStatus.FAILED}


def traded(
    *, trade_id: str, shares: Decimal, usd: Decimal, fees: Fees | None, status: FillStatus, ts_event: int
) -> Trade:
    """A trade of ours from what moved; `fees` None for a maker, who pays none. The fee falls on the exact VWAP.

    Raises:
        ParseError: amounts that no trade can have.
    """
    if not ZERO < usd < shares:
        raise ParseError(f"trade {trade_id} was {shares} shares for {usd} dollars")
    with localcontext(EXACT):
        vwap = usd / shares
        fee = ZERO if fees is None else fees.charged(shares=shares, price=vwap)
        price = vwap.quantize(PRICE_GRID, rounding=ROUND_HALF_EVEN).normalize()
    return Trade(trade_id=trade_id, shares=shares, price=price, fee=fee, status=status, ts_event=ts_event)


def own_trades(row: ClobTrade, *, wallet: str, fees: Fees) -> Iterator[VenueTrade]:
    """Our part of a trade: the whole of it as its taker, our maker orders otherwise (venue.md 6.2)."""
    status, at = _FINAL.get(row.status, FillStatus.PROVISIONAL), nanoseconds(row.matched_at)
    if row.trader_side == "TAKER":
        side = Side(row.side)
        usd = _taker_usd(row, side)
        trade = traded(trade_id=row.id, shares=row.size, usd=usd, fees=fees, status=status, ts_event=at)
        yield _venue_trade(row, row.taker_order_id, row.asset_id, row.outcome, side, trade)
        return
    for maker in row.maker_orders:
        if maker.maker_address.lower() == wallet.lower():
            side = Side(maker.side)
            usd = _dollars(maker.matched_amount, maker.price, side)
            trade_id = f"{row.id}:{maker.order_id}"  # One trade may meet several orders of ours
            trade = traded(
                trade_id=trade_id, shares=maker.matched_amount, usd=usd, fees=None, status=status, ts_event=at
            )
            yield _venue_trade(row, maker.order_id, maker.asset_id, maker.outcome, side, trade)


def _taker_usd(row: ClobTrade, side: Side) -> Decimal:
    """What the taker paid: maker by maker, as the chain books it; the stated price only where no makers are listed."""
    if sum((maker.matched_amount for maker in row.maker_orders), ZERO) != row.size:
        return _dollars(row.size, row.price, side)
    return sum((_dollars(m.matched_amount, _price_for(row, m), side) for m in row.maker_orders), ZERO)


def _price_for(row: ClobTrade, maker: MakerOrder) -> Decimal:
    """The maker's price in the taker's token: a maker of the other token mints or merges against us at 1 - p."""
    return maker.price if maker.asset_id == row.asset_id else ONE - maker.price


def _dollars(shares: Decimal, price: Decimal, side: Side) -> Decimal:
    exact = EXACT.multiply(shares, price)
    return round_up(exact, MICRO) if side is Side.BUY else round_down(exact, MICRO)


def _venue_trade(row: ClobTrade, order: str, token: str, outcome: str, side: Side, trade: Trade) -> VenueTrade:
    return VenueTrade(order_hash=order, market=row.condition_id, token=token, outcome=outcome, side=side, trade=trade)


def position(row: Mapping[str, Any]) -> VenuePosition:
    """A row of the Data API's /positions.

    Raises:
        ParseError: for a row that lacks a field.
    """
    try:
        return VenuePosition(
            market=str(row["conditionId"]),
            token=str(row["asset"]),
            outcome=str(row["outcome"]),
            shares=number(row["size"], "size"),
            redeemable=row.get("redeemable") is True,
        )
    except KeyError as error:
        raise ParseError(f"position had no {error}") from None


def redemption(row: Mapping[str, Any]) -> Redemption:
    """A REDEEM row of the Data API's /activity.

    Raises:
        ParseError: for a row that lacks a field.
    """
    try:
        return Redemption(
            market=str(row["conditionId"]),
            token=str(row["asset"]),
            shares=number(row["size"], "size"),
            usd=number(row["usdcSize"], "usdcSize"),
            ts_event=int(row["timestamp"]) * NANOS,
        )
    except KeyError as error:
        raise ParseError(f"activity had no {error}") from None


def merge(row: Mapping[str, Any]) -> VenueMerge:
    """A MERGE row of the Data API's /activity. A transaction merges a market once.

    Raises:
        ParseError: for a row that lacks a field.
    """
    try:
        market = str(row["conditionId"])
        return VenueMerge(
            merge_id=f"{row['transactionHash']}:{market}",
            market=market,
            pairs=number(row["size"], "size"),
            usd=number(row["usdcSize"], "usdcSize"),
            ts_event=int(row["timestamp"]) * NANOS,
        )
    except KeyError as error:
        raise ParseError(f"activity had no {error}") from None


def entry_fees(row: Mapping[str, Any]) -> tuple[str, EntryFees]:
    """(token, fees) of a row of the Data API's /v2/positions.

    Raises:
        ParseError: for a row that lacks a field.
    """
    try:
        fees = EntryFees(
            shares=number(row["current_size"], "current_size"), fees=number(row["entry_fees_usdc"], "entry_fees_usdc")
        )
        return str(row["token_id"]), fees
    except KeyError as error:
        raise ParseError(f"position had no {error}") from None


def nanoseconds(moment: datetime) -> int:
    """A datetime as nanoseconds UTC, exact to the microsecond."""
    return int(moment.timestamp()) * NANOS + moment.microsecond * 1000
