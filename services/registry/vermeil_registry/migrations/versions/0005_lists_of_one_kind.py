"""Lists of one kind, however much of other kinds and states is over.

Made inside the transaction like all migrations, so that none is left half made: writes of registries that
still run wait meanwhile, a second where 200,000 jobs are over. Tables are locked in the order in which who
finishes a job writes them, artifacts first; whoever drops the indexes keeps off reads too, which begin with
jobs.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("artifacts_by_kind", "artifacts", ["kind", "number"])
    op.create_index("jobs_by_kind_and_state", "jobs", ["kind", "state", "number"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("jobs_by_kind_and_state", "jobs")
    op.drop_index("artifacts_by_kind", "artifacts")
