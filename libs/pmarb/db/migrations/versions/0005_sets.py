"""Sets of legs: what was about to be bought together, the bound of its loss, and how it ended."""

from alembic import op

from pmarb.db.schema import sets

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sets.create(op.get_bind(), checkfirst=True)  # A new database has it from 0001 already
    op.execute(
        "CREATE TRIGGER sets_kept BEFORE DELETE OR TRUNCATE ON sets FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    sets.drop(op.get_bind())
