"""The real trading path: the official client drafts and posts orders; the signature is ours, byte for byte its own.

Its `place_*` answers a missing allowance with an on-chain approval and posts again; no trader should do that unasked.
Nothing here is retried: who may have posted asks the venue what became of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, cast

from coincurve import PrivateKey
from polymarket._internal.actions.orders.types import UnsignedOrder
from polymarket.clients.async_secure import AsyncSecureClient
from polymarket.errors import (
    OrderHeartbeatMismatchError,
    PolymarketError,
    RateLimitError,
    RequestRejectedError,
    TransactionFailedError,
    TransportError,
    UnexpectedResponseError,
    UserInputError,
)
from polymarket.models.clob import ApiKeyCreds
from polymarket.models.clob.account import OpenOrder
from polymarket.models.clob.orders import MarketOrderType, SignedOrder
from pydantic import SecretStr

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.orders import OrderState, OrderType
from pmarb.domain.values import MICRO, NANOS, Side, round_down
from pmarb.venue import eip712, replies, sdk
from pmarb.venue.account import own_trades
from pmarb.venue.departure import Departure, Withheld
from pmarb.venue.outcomes import PublicRecords
from pmarb.venue.parse import ParseError
from pmarb.venue.port import (
    CannotMerge,
    CannotRedeem,
    Draft,
    EntryFees,
    Intent,
    Permit,
    PostResult,
    Redemption,
    Resolution,
    Sightings,
    Signed,
    VenueMerge,
    VenueOrder,
    VenuePosition,
    VenueTrade,
    VenueUnavailable,
    WrongHeartbeat,
    granted,
)
from pmarb.venue.userstream import UserStream

log = logs.get(__name__)

ANSWER_WITHIN: Final = 10.0
"""Seconds (real) to wait for the reply to a POST: the venue holds marketable orders before it answers."""

_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """Who trades. `funder` holds the money, None for the signer's own deposit wallet; no key: it is derived.

    `relayer_key` lets the relayer redeem for a wallet that is not the signer's own address."""

    private_key: SecretStr
    funder: str | None = None
    signature_type: int | None = None
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    api_passphrase: SecretStr | None = None
    relayer_key: SecretStr | None = None

    def credentials(self) -> ApiKeyCreds | None:
        if self.api_key is None or self.api_secret is None or self.api_passphrase is None:
            return None
        return ApiKeyCreds(
            key=self.api_key.get_secret_value(),
            secret=self.api_secret.get_secret_value(),
            passphrase=self.api_passphrase.get_secret_value(),
        )


class WrongWallet(ValueError):
    """The key, the funder and the signature type do not belong together."""


class SdkVenue:
    """See `pmarb.venue.port.TradingVenue`."""

    def __init__(
        self, client: AsyncSecureClient, key: PrivateKey, urls: sdk.Urls, clock: Clock, *, answer_within: float
    ) -> None:
        self._client = client
        self._key = key
        self._urls = urls
        self._clock = clock
        self._answer_within = answer_within
        self._records = PublicRecords(gamma_url=urls.gamma, data_url=urls.data)

    @classmethod
    async def connect(
        cls, urls: sdk.Urls, wallet: Wallet, clock: Clock, *, answer_within: float = ANSWER_WITHIN
    ) -> "SdkVenue":
        """Log in.

        Raises:
            VenueUnavailable: the venue does not answer, or refuses the login.
            WrongWallet: what was given cannot be one account.
        """
        try:
            async with _reading():
                client = await sdk.connect(
                    urls,
                    private_key=wallet.private_key.get_secret_value(),
                    wallet=wallet.funder,
                    credentials=wallet.credentials(),
                    relayer_key=wallet.relayer_key.get_secret_value() if wallet.relayer_key else None,
                )
        except VenueUnavailable as error:
            if _is_our_fault(error.__cause__):
                raise WrongWallet(str(error)) from None
            raise
        found = sdk.signature_type(client)
        if wallet.signature_type is not None and wallet.signature_type != found:
            await client.close()
            raise WrongWallet(f"SIGNATURE_TYPE was {wallet.signature_type}, but WALLET_ADDRESS is of type {found}")
        key = PrivateKey.from_hex(wallet.private_key.get_secret_value().removeprefix("0x"))
        return cls(client, key, urls, clock, answer_within=answer_within)

    @property
    def wallet(self) -> str:
        """The address that holds the money."""
        return str(self._client.wallet)

    @property
    def signature_type(self) -> int:
        """0 EOA, 1 proxy, 2 Safe, 3 deposit wallet."""
        return sdk.signature_type(self._client)

    async def allowances(self) -> dict[str, int]:
        """How much pUSD each contract of the venue may take, in millionths."""
        async with _reading():
            found = await self._client.get_balance_allowance(asset_type="COLLATERAL")
        return dict(found.allowances)

    async def contracts(self) -> dict[str, str]:
        """What the client takes for the venue's contracts, and the `spenders` that the venue itself names."""
        named = {name: address.lower() for name, address in sdk.contracts(self._client).items()}
        return named | {"spenders": ",".join(sorted(address.lower() for address in await self.allowances()))}

    async def closed_only(self) -> bool:
        """Whether the account may only reduce."""
        async with _reading():
            return await self._client.get_closed_only_mode()

    def user_stream(self, wake: Callable[[], None], sightings: Sightings) -> UserStream:
        """A reader that calls `wake` whenever something of ours may have changed, and notes which orders it saw."""
        return UserStream(self._urls.ws_user, self._client.credentials, wake, sightings)

    async def prepare(self, tokens: Sequence[str]) -> None:
        async with _reading():
            await asyncio.gather(*(sdk.terms(self._client, token) for token in tokens))

    async def ready(self) -> None:
        await sdk.ready(self._client)

    async def draft(self, intent: Intent) -> Draft:
        try:
            order = await self._drafted(intent)
        except PolymarketError as error:
            raise ValueError(str(error)) from error
        _require_exact(order, intent)
        contents = eip712.contents_hash(cast(eip712.UnsignedOrder, order))
        order_hash = eip712.order_hash(sdk.domain(order), contents)
        return Draft(order_hash=order_hash, intent=intent, payload=(order, contents))

    def seal(self, draft: Draft) -> Signed:
        order, contents = cast(tuple[UnsignedOrder, bytes], draft.payload)
        signed = sdk.seal(self._client, order, self._key, contents=contents)
        return Signed(order_hash=draft.order_hash, intent=draft.intent, payload=signed)

    async def post(self, signed: Signed, *, permit: Permit = granted) -> PostResult | None:
        assert isinstance(signed.payload, SignedOrder)
        with Departure(permit, self._clock) as departure:
            try:
                async with asyncio.timeout(self._answer_within):
                    reply = await self._client.post_order(signed.payload)
            except Withheld:
                return None
            except (RequestRejectedError, RateLimitError) as error:
                return replies.refused(error, sent_real=departure.sent_real)
            except TimeoutError:
                return replies.silent(f"no answer within {self._answer_within} s", sent_real=departure.sent_real)
            except (TransportError, UnexpectedResponseError, ValueError) as error:
                return replies.silent(f"{type(error).__name__}: {error}", sent_real=departure.sent_real)
        return replies.answered(reply, signed, sent_real=departure.sent_real)

    async def cancel_all(self) -> dict[str, str]:
        async with _reading():
            return {str(order): why for order, why in (await self._client.cancel_all()).not_canceled.items()}

    async def open_orders(self) -> Sequence[VenueOrder]:
        async with _reading():
            return [_venue_order(row) async for row in self._client.list_open_orders().iter_items()]

    async def trades(self, *, since_ns: int) -> Sequence[VenueTrade]:
        found: list[VenueTrade] = []
        async with _reading():
            rows = self._client.list_account_trades(after=str(since_ns // NANOS - 1)).iter_items()
            async for row in rows:
                terms = await sdk.terms(self._client, row.asset_id)
                try:
                    found += own_trades(row, wallet=self.wallet, fees=terms.fees)
                except ParseError as error:  # Its order keeps its reservation, and the audit shows the difference
                    log.error("trade_not_read", trade_id=row.id, error=str(error))
        return found

    async def positions(self) -> Sequence[VenuePosition]:
        return await self._records.positions(self.wallet)

    async def cash(self) -> Decimal:
        async with _reading():
            await sdk.refresh_balance(self._client)
            found = await self._client.get_balance_allowance(asset_type="COLLATERAL")
        return Decimal(found.balance) * MICRO

    async def resolutions(self, markets: Sequence[str]) -> Sequence[Resolution]:
        return await self._records.resolutions(markets)

    async def redemptions(self, *, since_ns: int) -> Sequence[Redemption]:
        return await self._records.redemptions(self.wallet, since_ns=since_ns)

    async def shares(self, token: str) -> Decimal:
        async with _reading():
            await sdk.refresh_balance(self._client, token=token)
            found = await self._client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=token)
        return Decimal(found.balance) * MICRO

    async def entry_fees(self) -> dict[str, EntryFees]:
        return await self._records.entry_fees(self.wallet)

    async def redeem(self, markets: Sequence[str]) -> str:
        async with _reading():
            try:
                return await sdk.redeem(self._client, markets)
            except (UserInputError, TransactionFailedError, RequestRejectedError) as error:
                raise CannotRedeem(str(error) or type(error).__name__) from error

    async def merge(self, pairs: Mapping[str, Decimal]) -> str:
        units = {market: int(round_down(count, MICRO) / MICRO) for market, count in pairs.items()}
        async with _reading():
            try:
                return await sdk.merge(self._client, units)
            except RequestRejectedError as error:
                if error.status >= _SERVER_ERROR:
                    raise  # It may have been taken
                raise CannotMerge(str(error) or type(error).__name__) from error
            except (UserInputError, TransactionFailedError) as error:
                raise CannotMerge(str(error) or type(error).__name__) from error

    async def merges(self, *, since_ns: int) -> Sequence[VenueMerge]:
        return await self._records.merges(self.wallet, since_ns=since_ns)

    async def heartbeat(self, heartbeat_id: str) -> str:
        async with _reading():
            try:
                return str((await self._client.send_order_heartbeat(heartbeat_id=heartbeat_id)).heartbeat_id)
            except OrderHeartbeatMismatchError as error:
                raise WrongHeartbeat(error.heartbeat_id) from error

    async def close(self) -> None:
        await self._records.close()
        await self._client.close()

    async def _drafted(self, intent: Intent) -> UnsignedOrder:
        client, token = self._client, intent.token
        if intent.order_type.rests:
            return await sdk.draft_limit(
                client, token=token, price=intent.limit, shares=intent.shares, side=intent.side
            )
        kind: MarketOrderType = "FAK" if intent.order_type is OrderType.FAK else "FOK"
        if intent.side is Side.BUY:
            return await sdk.draft_market_buy(client, token=token, usd=intent.usd, max_price=intent.limit, kind=kind)
        return await sdk.draft_market_sell(client, token=token, shares=intent.shares, min_price=intent.limit, kind=kind)


def _require_exact(order: UnsignedOrder, intent: Intent) -> None:
    """The client rounds by its own table; what it drafts must be what was planned, to the millionth."""
    gives, takes = (intent.usd, intent.shares) if intent.side is Side.BUY else (intent.shares, intent.usd)
    planned = (gives / MICRO, takes / MICRO)
    if (Decimal(order.maker_amount), Decimal(order.taker_amount)) != planned:
        raise ValueError(
            f"drafted {order.maker_amount} for {order.taker_amount}, planned {planned[0]} for {planned[1]}"
        )


def _venue_order(row: OpenOrder) -> VenueOrder:
    return VenueOrder(
        order_hash=row.id,
        market=row.condition_id,
        token=row.asset_id,
        side=Side(row.side),
        price=row.price,
        shares=row.original_size,
        matched=row.size_matched,
        state=OrderState.DELAYED if row.status.upper() == "DELAYED" else OrderState.LIVE,
    )


def _is_our_fault(error: BaseException | None) -> bool:
    """Whether asking again cannot help: a key or an address that is none, or a login refused."""
    refused = isinstance(error, RequestRejectedError) and error.status in (400, 401, 403)
    return refused or isinstance(error, UserInputError)


@asynccontextmanager
async def _reading() -> AsyncIterator[None]:
    """A read that fails teaches nothing, whatever the reason."""
    try:
        yield
    except PolymarketError as error:
        raise VenueUnavailable(str(error) or type(error).__name__) from error
