"""The ledger may only grow: nothing booked is changed or removed, no entry is empty. What others did in our wallet."""

from alembic import op

from pmarb.db.schema import foreign_movements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NO_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND current_setting('pmarb.new_world', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% of %: the ledger is append-only, book a further entry', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""

NOT_EMPTY = """
CREATE FUNCTION refuse_empty_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM postings WHERE entry_id = NEW.entry_id OFFSET 1) THEN
        RAISE EXCEPTION 'entry % has fewer than two postings', NEW.entry_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""

NOT_EMPTY_TRIGGER = """
CREATE CONSTRAINT TRIGGER entries_not_empty AFTER INSERT ON entries
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_empty_entry()
"""

BOOKED = ("entries", "postings")


def upgrade() -> None:
    # A new database has both from 0001 already, which makes the tables as they are defined today.
    foreign_movements.create(op.get_bind(), checkfirst=True)
    op.execute("ALTER TABLE settlements ADD COLUMN IF NOT EXISTS dispute text NOT NULL DEFAULT ''")
    for statement in (NO_CHANGE, NOT_EMPTY, NOT_EMPTY_TRIGGER):
        op.execute(statement)
    for table in BOOKED:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    for table in BOOKED:
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
        op.execute(f"DROP TRIGGER {table}_kept ON {table}")
    op.execute("DROP TRIGGER entries_not_empty ON entries")
    op.execute("DROP FUNCTION refuse_empty_entry()")
    op.execute("DROP FUNCTION refuse_change()")
    op.drop_column("settlements", "dispute")
    foreign_movements.drop(op.get_bind())
