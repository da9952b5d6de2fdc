"""Brings the database to the newest schema: `python -m pmarb.db.migrate`. Run twice, it changes nothing."""

import sys
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from pmarb import logs
from pmarb.settings import Settings, load

log = logs.get(__name__)
GIVE_UP_AFTER = 120.0  # Seconds: long enough for a database that is still starting


def upgrade(dsn: str) -> None:
    """Migrate to the newest schema. Two at once wait for each other."""
    url = dsn.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(7001)"))
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["url"] = url
        command.upgrade(config, "head")
        connection.execute(text("SELECT pg_advisory_unlock(7001)"))
    engine.dispose()


def main() -> None:
    settings = load(Settings)
    logs.configure(service="migrate", level=settings.log_level, fmt=settings.log_format)
    deadline = time.monotonic() + GIVE_UP_AFTER
    while True:
        try:
            upgrade(settings.dsn)
        except OperationalError as error:
            if time.monotonic() > deadline:
                log.error("database_unavailable", error=str(error.orig).strip(), fix="check DATABASE_URL")
                sys.exit(1)
            log.warning("database_unavailable", error=str(error.orig).strip().splitlines()[0], retry_in_s=1)
            time.sleep(1)
        else:
            log.info("schema_is_current")
            return


if __name__ == "__main__":
    main()
