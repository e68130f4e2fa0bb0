"""Migrations: bring the database to the newest form, once, however many registries start at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from vermeil_errors import Conflict
from vermeil_telemetry import get_logger

from vermeil_registry.database import Database

LOCK = (
    "CREATE TABLE IF NOT EXISTS alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    "LOCK TABLE alembic_version IN EXCLUSIVE MODE",
)
"""Said to Postgres by who migrates: the table of the revision is his until he is done, and others may read
it. No advisory lock, which some servers and poolers do not have.
"""
_logger = get_logger(__name__)


def migrate(database: Database, *, to: str = "head") -> None:
    """Bring it to the revision `to`: run what has not run yet, or take back what is newer.

    One transaction, which keeps other registries waiting.
    """

    def work(connection: Connection) -> None:
        if database.is_sqlite:
            _move(connection, to)
            return
        from vermeil_registry.patience import waiting_for_good  # noqa: PLC0415  the driver is an extra

        with waiting_for_good(connection):
            for statement in LOCK:
                connection.execute(text(statement))
            _move(connection, to)

    database.write(work)


def revisions() -> list[str]:
    """All forms that this version of the code knows, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def revision(connection: Connection) -> str | None:
    """How far the database's form is; None if it has none yet."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    return MigrationContext.configure(connection).get_current_revision()


def _move(connection: Connection, to: str) -> None:
    known, current = ["base", *revisions()], revision(connection) or "base"
    if current not in known:
        raise Conflict(
            f"the database is at revision {current}, which this version does not know",
            fix="start the newer version of Vermeil that made it, or use another VERMEIL_HOME",
        )
    wanted = known[-1] if to == "head" else to
    if wanted not in known:
        raise Conflict(
            f"revision {wanted} is not known to this version",
            fix="use a version of Vermeil at least as new as the one that made it",
        )
    if current == wanted:
        return
    config = _config()
    config.attributes["connection"] = connection
    move = command.upgrade if known.index(current) < known.index(wanted) else command.downgrade
    move(config, wanted)
    _logger.info("migrated the database", before=current, after=wanted)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
