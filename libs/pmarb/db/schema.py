"""The tables of the ledger database, for Alembic and for queries off the hot path.

Times are venue nanoseconds UTC (`bigint`); columns that end in `_real` are this machine's clock. Money is `numeric`.
The database itself refuses an entry whose postings do not sum to zero (migration 0001) or that has none, and whatever
would change or remove what was booked (0002, 0004).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

orders = Table(
    "orders",
    metadata,
    Column("order_hash", Text, primary_key=True),
    Column("opportunity_id", Text, nullable=False),
    Column("leg", Integer, nullable=False),
    Column("slug", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("underlying", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("market", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("limit_price", Numeric, nullable=False),
    Column("shares", Numeric, nullable=False),
    Column("usd", Numeric, nullable=False),
    Column("reserved", Numeric, nullable=False),
    Column("fee_rate", Numeric, nullable=False),
    Column("fee_exponent", Numeric, nullable=False),
    Column("fair", Numeric, nullable=False),
    Column("expiry", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("cause", Text, nullable=False, server_default=""),
    Column("tick_real", BigInteger, nullable=False, server_default="0"),
    Column("judged_real", BigInteger, nullable=False, server_default="0"),
    Column("sent_real", BigInteger, nullable=False, server_default="0"),
    Column("answered_real", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("opportunity_id", "leg", name="one_post_a_leg"),
    Index(
        "orders_open", "state", postgresql_where=text("state IN ('SUBMITTING','LIVE','DELAYED','UNKNOWN','MATCHED')")
    ),
)

trades = Table(
    "trades",
    metadata,
    Column("trade_id", Text, primary_key=True),
    Column("order_hash", Text, ForeignKey("orders.order_hash"), nullable=False, index=True),
    Column("shares", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("fee", Numeric, nullable=False),
    Column("status", Text, nullable=False),
    Column("ts_event", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint("shares > 0 AND price >= 0 AND price <= 1 AND fee >= 0", name="sane_trade"),
)

settlements = Table(
    "settlements",
    metadata,
    Column("token", Text, primary_key=True),
    Column("market", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("won", Boolean, nullable=False),
    Column("shares", Numeric, nullable=False),
    Column("cost", Numeric, nullable=False),
    Column("fees", Numeric, nullable=False),
    Column("payout", Numeric, nullable=False),
    Column("pnl", Numeric, nullable=False),
    Column("resolved_at", BigInteger, nullable=False),
    Column("redeemed_at", BigInteger, nullable=False, server_default="0"),
    Column("dispute", Text, nullable=False, server_default=""),
)

merges = Table(
    "merges",
    metadata,
    Column("merge_id", Text, primary_key=True),
    Column("token", Text, primary_key=True, index=True),
    Column("market", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("shares", Numeric, nullable=False),
    Column("cost", Numeric, nullable=False),
    Column("fees", Numeric, nullable=False),
    Column("payout", Numeric, nullable=False),
    Column("pnl", Numeric, nullable=False),
    Column("merged_at", BigInteger, nullable=False),
    CheckConstraint("shares > 0 AND cost >= 0 AND fees >= 0", name="sane_merge"),
)

merge_log = Table(
    "merge_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("market", Text, nullable=False, index=True),
    Column("pairs", Numeric, nullable=False),
    Column("step", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("ts_event", BigInteger, nullable=False),
)

foreign_movements = Table(
    "foreign_movements",
    metadata,
    Column("movement_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("order_hash", Text, nullable=False),
    Column("market", Text, nullable=False),
    Column("token", Text, nullable=False, index=True),
    Column("outcome", Text, nullable=False),
    Column("shares", Numeric, nullable=False),
    Column("usd", Numeric, nullable=False),
    Column("ts_event", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

entries = Table(
    "entries",
    metadata,
    Column("entry_id", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), unique=True),
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False, index=True),
    Column("ts_event", BigInteger, nullable=False),
)

postings = Table(
    "postings",
    metadata,
    Column("entry_id", Text, ForeignKey("entries.entry_id"), primary_key=True),
    Column("account", Text, primary_key=True),
    Column("amount", Numeric, nullable=False),
)

sets = Table(
    "sets",
    metadata,
    Column("opportunity_id", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("approval", JSONB, nullable=False),
    Column("worst_loss", Numeric, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ending", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("whole", Numeric, nullable=False, server_default="0"),
    Column("skew", BigInteger, nullable=False, server_default="0"),
    Column("ended_at", BigInteger, nullable=False, server_default="0"),
    Index("sets_open", "ending", postgresql_where=text("ending IN ('', 'complete')")),
)

trading_state = Table(
    "trading_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("clears_at", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_state"),
    CheckConstraint("state IN ('ACTIVE','REDUCING','HALTED','KILLED')", name="known_state"),
)

state_log = Table(
    "state_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("state", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("ts_event", BigInteger, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("open_before", JSONB, nullable=False),
    Column("cancelled", JSONB, nullable=False),
    Column("open_after", JSONB, nullable=False),
    Column("unverified", Text, nullable=False, server_default=""),
    Column("started_real", BigInteger, nullable=False),
    Column("verified_real", BigInteger, nullable=False, server_default="0"),
    Column("ts_event", BigInteger, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("opportunity_id", Text, primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("opportunity", JSONB, nullable=False),
    Column("approval", JSONB, nullable=True),
    Column("gates", JSONB, nullable=True),
    Column("judged_at", BigInteger, nullable=False, index=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("dedupe_key", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("delivered", Boolean, nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Column("ts_event", BigInteger, nullable=False),
)

limits_log = Table(
    "limits_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("limits", JSONB, nullable=False),
    Column("ts_event", BigInteger, nullable=False),
)

ledger_modes = Table(
    "ledger_modes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("venue", Text, nullable=False),
    Column("execution", Text, nullable=False),
    Column("since_real", BigInteger, nullable=False),
)

gate_log = Table(
    "gate_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("opened", Boolean, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("criteria", JSONB, nullable=False),
    Column("at_real", BigInteger, nullable=False),
)

market_rules = Table(
    "market_rules",
    metadata,
    Column("market", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("series", Text, nullable=False, index=True),
    Column("rules", JSONB, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("changed", Text, nullable=False, server_default=""),
    Column("acknowledged_by", Text, nullable=False, server_default=""),
    Column("acknowledged_why", Text, nullable=False, server_default=""),
    Column("acknowledged_at", BigInteger, nullable=False, server_default="0"),
)

scans = Table(
    "scans",
    metadata,
    Column("slug", Text, primary_key=True),
    Column("until", BigInteger, primary_key=True, index=True),
    Column("since", BigInteger, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("found", Integer, nullable=False),
    Column("skips", JSONB, nullable=False),
    Column("last", JSONB, nullable=False),
)
