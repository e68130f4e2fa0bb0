"""Jobs, their logs and predecessors; artifacts; datasets and models with their versions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_jobs()
    _make_names()


def downgrade() -> None:
    """Drop them with all that is in them."""
    for table in ("versions", "entries", "artifacts", "job_lines", "job_successors", "jobs"):
        op.drop_table(table)


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        *_texts("owner", "request_id", "kind", "queue", "spec_type"),
        sa.Column("spec_value", sa.LargeBinary, nullable=False),
        *_texts("after", "inputs", "traceparent"),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("num_waiting", sa.Integer, nullable=False),
        sa.Column("ready_time", sa.BigInteger),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("lease_end", sa.BigInteger),
        sa.Column("ending", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        *_texts("progress", "outputs", "result"),
        sa.Column("ring_time", sa.BigInteger),
        sa.Column("num_rings", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.UniqueConstraint("owner", "request_id", name="one_job_per_request"),
    )
    op.create_index("jobs_by_ring_time", "jobs", ["ring_time"])
    op.create_index("jobs_by_state", "jobs", ["state", "number"])
    op.create_index("jobs_by_kind", "jobs", ["kind", "number"])
    op.create_table(
        "job_successors",
        sa.Column("predecessor", sa.Text, sa.ForeignKey("jobs.name"), primary_key=True),
        sa.Column("successor", sa.Text, sa.ForeignKey("jobs.name"), primary_key=True),
    )
    op.create_table(
        "job_lines",
        sa.Column("job", sa.Text, sa.ForeignKey("jobs.name"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        *_texts("level", "text"),
    )


def _make_names() -> None:
    op.create_table(
        "artifacts",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "entries",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        *_texts("owner", "description"),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_index("entries_by_name", "entries", ["collection", "name"])
    op.create_table(
        "versions",
        sa.Column("entry", sa.Text, sa.ForeignKey("entries.name"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.Text, sa.ForeignKey("artifacts.digest"), nullable=False),
        *_texts("details", "job"),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("fingerprint", sa.Text),
        sa.UniqueConstraint("owner", "request_id", name="one_version_per_request"),
    )
    op.create_index("versions_by_digest", "versions", ["digest"])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]
