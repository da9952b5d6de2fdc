"""Every revision goes up and down again, on a database with money in it."""

from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config

import pmarb.db.migrations
from pmarb.db.migrate import upgrade
from tests.executors import rows
from tests.ledgers import with_a_trade


def test_the_newest_revision_is_reversible_and_keeps_the_ledger(database_url: str) -> None:
    with_a_trade(database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(pmarb.db.migrations.__path__[0])))
    config.attributes["url"] = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    command.downgrade(config, "0001")
    with psycopg.connect(database_url) as writer:  # As it was, nothing forbids this
        writer.execute("UPDATE entries SET ref = ref")
    upgrade(database_url)
    upgrade(database_url)
    assert rows(database_url, "SELECT sum(amount), count(*) FROM postings") == [(0, 10)]
    with psycopg.connect(database_url) as writer, pytest.raises(psycopg.errors.RestrictViolation):
        writer.execute("UPDATE entries SET ref = ref")
