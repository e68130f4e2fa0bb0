"""How many jobs an owner may have at once, and the order in which waiting ones are handed out."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; jobs that are there are of normal priority and go first, by age."""
    op.create_table(
        "quotas",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("max_running", sa.Integer),
        sa.Column("max_waiting", sa.Integer),
    )
    op.add_column("jobs", sa.Column("priority", sa.Text, nullable=False, server_default="NORMAL"))
    op.add_column("jobs", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("jobs_by_turn", "jobs", ["queue", "state", "turn", "number"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "state", "queue", "priority", "turn"])


def downgrade() -> None:
    """Drop it all: waiting jobs are handed out as their doorbells come."""
    for index in ("jobs_by_owner", "jobs_by_turn"):
        op.drop_index(index, "jobs")
    for column in ("turn", "priority"):
        op.drop_column("jobs", column)
    op.drop_table("quotas")
