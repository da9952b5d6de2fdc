"""Merges of both outcomes into dollars: what was asked of the relayer, and what was booked. Both only grow."""

from alembic import op

from pmarb.db.schema import merge_log, merges

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NEW = (merges, merge_log)


def upgrade() -> None:
    for table in NEW:  # A new database has them from 0001 already
        table.create(op.get_bind(), checkfirst=True)
        op.execute(
            f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE ON {table.name} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table.name}_kept BEFORE TRUNCATE ON {table.name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    for table in reversed(NEW):
        table.drop(op.get_bind())
