"""The ledger: orders, trades, double entry that the database itself checks, trading state, verdicts, deliveries."""

from alembic import op

from pmarb.db.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BALANCED = """
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total numeric;
BEGIN
    SELECT sum(amount) INTO total FROM postings WHERE entry_id = coalesce(NEW.entry_id, OLD.entry_id);
    IF coalesce(total, 0) <> 0 THEN
        RAISE EXCEPTION 'entry % sums to %', coalesce(NEW.entry_id, OLD.entry_id), total
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""

BALANCED_TRIGGER = """
CREATE CONSTRAINT TRIGGER postings_balance AFTER INSERT OR UPDATE OR DELETE ON postings
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced()
"""

FIRST_STATE = """
INSERT INTO trading_state (id, state, who, why, since, clears_at)
VALUES (1, 'ACTIVE', 'migration', 'first start', 0, 0) ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    for statement in (BALANCED, BALANCED_TRIGGER, FIRST_STATE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER postings_balance ON postings")
    op.execute("DROP FUNCTION refuse_unbalanced()")
    metadata.drop_all(op.get_bind())
