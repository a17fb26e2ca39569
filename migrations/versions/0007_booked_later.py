"""What is billed later: jobs at providers, and who books their results.

Revision 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_jobs",
        sa.Column("org_id", sa.String(length=40), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("job", sa.String(length=255), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("works_as", sa.String(length=64), nullable=True),
        sa.Column("model", sa.String(length=255), nullable=True),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_ip", sa.String(length=45), nullable=True),
        sa.Column("results", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("org_id", "provider", "job", name="pk_provider_jobs"),
    )
    op.create_index("ix_provider_jobs_results", "provider_jobs", ["org_id", "provider", "results"])
    op.create_index("ix_provider_jobs_admitted_at", "provider_jobs", ["admitted_at"])
    op.create_table(
        "job_bookings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("worker_id", sa.String(length=40), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("written", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_bookings"),
    )
    op.create_index("ix_job_bookings_taken_at", "job_bookings", ["taken_at"])


def downgrade() -> None:
    op.drop_table("job_bookings")
    op.drop_table("provider_jobs")
