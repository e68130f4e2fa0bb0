"""Who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "audit_events",
        sa.Column("number", _NUMBER, primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("trace_request_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False, unique=True),
    )
    op.create_index("audit_events_by_caller", "audit_events", ["caller", "number"])
    op.create_index("audit_events_by_resource", "audit_events", ["resource", "number"])


def downgrade() -> None:
    """Drop it, with all that was written down."""
    op.drop_table("audit_events")
