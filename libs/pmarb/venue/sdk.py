"""Every private surface of the official client that we lean on, in one place, with a contract test per release.

The client is pinned exactly. Its hosts cannot be redirected publicly; its `create` may deploy a wallet through the
relayer; it neither tells an order's hash before posting nor refreshes the venue's balance cache.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, cast

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from polymarket._internal.actions.account import build_update_balance_allowance_request
from polymarket._internal.actions.orders import typed_data
from polymarket._internal.actions.orders.types import UnsignedOrder
from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment
from polymarket._internal.protocol import is_v2_position_id
from polymarket._internal.wallet import signature_type_for
from polymarket.clients.async_secure import AsyncSecureClient
from polymarket.environments import Environment
from polymarket.models.clob import ApiKeyCreds
from polymarket.models.clob.orders import SignedOrder
from polymarket.models.types import ClobAssetId

from pmarb.domain.fees import FeeSchedule

PINNED: Final = "0.14.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Where a venue lives. `PRODUCTION` or what a sandbox says of itself."""

    clob: str = PRODUCTION_CONFIG.clob_url
    gamma: str = PRODUCTION_CONFIG.gamma_url
    data: str = PRODUCTION_CONFIG.data_url
    relayer: str = PRODUCTION_CONFIG.relayer_url
    rpc: str = PRODUCTION_CONFIG.rpc_url
    ws_market: str = PRODUCTION_CONFIG.clob_market_ws_url
    ws_user: str = PRODUCTION_CONFIG.clob_user_ws_url
    rtds: str = PRODUCTION_CONFIG.rtds_ws_url


PRODUCTION: Final = Urls()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTerms:
    """What signing for a token depends on, and what its taker pays."""

    tick: Decimal
    neg_risk: bool
    fees: FeeSchedule


def environment(urls: Urls) -> Environment:
    """An environment of the official client whose every host is one of `urls`: nothing else is ever called."""
    config = replace(
        PRODUCTION_CONFIG,
        clob_url=urls.clob,
        gamma_url=urls.gamma,
        data_url=urls.data,
        relayer_url=urls.relayer,
        rpc_url=urls.rpc,
        rfq_url=urls.clob,
        clob_market_ws_url=urls.ws_market,
        clob_user_ws_url=urls.ws_user,
        rtds_ws_url=urls.rtds,
        sports_ws_url=urls.ws_market,
        realtime_ws_url=urls.ws_market,
        builder_gateway_url=urls.clob,
        collateral_return_url=urls.clob,
        perps_url=urls.clob,
        perps_ws_url=urls.ws_market,
        rfq_quoter_ws_url=urls.ws_market,
    )
    return create_environment(name="pm-arb", config=config)


async def connect(
    urls: Urls, *, private_key: str, wallet: str | None, credentials: ApiKeyCreds | None
) -> AsyncSecureClient:
    """A client that has sent nothing but, without `credentials`, the login that derives them.

    The public `create` would also deploy a missing wallet: a person does that, not a trader that starts.
    """
    return await AsyncSecureClient._create(
        private_key=private_key,
        wallet=wallet,
        environment=environment(urls),
        credentials=credentials,
        validate_credentials=False,
    )


def signature_type(client: AsyncSecureClient) -> int:
    """0 EOA, 1 proxy, 2 Safe, 3 deposit wallet (venue.md 2.3)."""
    return signature_type_for(client.wallet_type)


async def terms(client: AsyncSecureClient, token: str) -> MarketTerms:
    """The terms of the token's market, asked of the CLOB at most every ten minutes."""
    ctx = client._ctx
    info = await ctx.order_metadata.resolve_market(ctx, token_id=cast(ClobAssetId, token))
    return MarketTerms(
        tick=info.tick_size,
        neg_risk=info.neg_risk,
        fees=FeeSchedule(info.fee_info.rate, info.fee_info.exponent),
    )


async def refresh_balance(client: AsyncSecureClient) -> None:
    """Make the venue look at the chain again: its balances are a cache (venue.md 7)."""
    path, params = build_update_balance_allowance_request(
        asset_type="COLLATERAL", signature_type=signature_type(client)
    )
    await client._ctx.secure_clob.get_json(path, params=params)


def order_hash(signed: SignedOrder, *, neg_risk: bool) -> str:
    """The EIP-712 hash of the order under its exchange's domain: the id the venue will know it by.

    The same for every signature type: a deposit wallet's nested signature wraps this very struct (venue.md 2.4).
    """
    config = PRODUCTION_CONFIG
    version_3 = is_v2_position_id(signed.token_id)
    exchange = config.exchange_v3 if version_3 else config.neg_risk_exchange if neg_risk else config.standard_exchange
    domain = encode(
        ["bytes32", "bytes32", "bytes32", "uint256", "address"],
        [
            typed_data._DOMAIN_TYPE_HASH,
            typed_data._PROTOCOL_NAME_HASH,
            keccak(b"3" if version_3 else b"2"),
            config.chain_id,
            exchange,
        ],
    )
    contents = typed_data._order_contents_hash(cast(UnsignedOrder, signed))
    return "0x" + keccak(b"\x19\x01" + keccak(domain) + contents).hex()
