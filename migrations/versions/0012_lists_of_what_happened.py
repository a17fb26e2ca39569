"""Indexes by which pages of refusals and of the audit log begin at a place in them.

None on the ledger itself: every request would pay for it.

Revision 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_refusals_org_id_reason_last_at", "refusals", ["org_id", "reason", "last_at", "key_id"]),
    ("ix_refusals_request_id", "refusals", ["request_id"]),
    ("ix_audit_events_org_id_actor_at", "audit_events", ["org_id", "actor", "at"]),
    ("ix_audit_events_org_id_target_at", "audit_events", ["org_id", "target", "at"]),
    ("ix_audit_events_org_id_action_at", "audit_events", ["org_id", "action", "at"]),
)


def upgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
