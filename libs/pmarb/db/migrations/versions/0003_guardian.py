"""What the Risk Guardian keeps: limits in force, where the ledger traded, the gate, rules of markets, scans, gates."""

from alembic import op

from pmarb.db.schema import gate_log, ledger_modes, limits_log, market_rules, scans

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NEW = (limits_log, ledger_modes, gate_log, market_rules, scans)

# What an older version traded, it traded nobody knows where: it is no evidence for real money.
UNKNOWN_ORIGIN = """
INSERT INTO ledger_modes (venue, execution, since_real)
SELECT 'unknown', 'unknown', 0 WHERE EXISTS (SELECT FROM orders) AND NOT EXISTS (SELECT FROM ledger_modes)
"""


def upgrade() -> None:
    for table in NEW:  # A new database has them from 0001 already
        table.create(op.get_bind(), checkfirst=True)
    op.execute("ALTER TABLE verdicts ADD COLUMN IF NOT EXISTS gates jsonb")
    op.execute("CREATE INDEX IF NOT EXISTS verdicts_slug ON verdicts (slug, judged_at)")
    op.execute(UNKNOWN_ORIGIN)


def downgrade() -> None:
    op.execute("DROP INDEX verdicts_slug")
    op.drop_column("verdicts", "gates")
    for table in reversed(NEW):
        table.drop(op.get_bind())
