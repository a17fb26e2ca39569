"""Lists of keys with a limit, and of those without, know limits for models: their two indexes anew.

The release before finds its own lists without these indexes, only slower where there are very many keys.

Revision 0029, after 0028.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

BEFORE = {"limited": "spend_limit_nanos IS NOT NULL", "unlimited": "spend_limit_nanos IS NULL"}
SINCE = {
    "limited": "(spend_limit_nanos IS NOT NULL OR json_array_length(model_limits) > 0)",
    "unlimited": "spend_limit_nanos IS NULL AND (model_limits IS NULL OR json_array_length(model_limits) = 0)",
}


def upgrade() -> None:
    _make(SINCE)


def downgrade() -> None:
    _make(BEFORE)


def _make(of: dict[str, str]) -> None:
    for name, keys in of.items():
        only = sa.text(f"{keys} AND revoked_at IS NULL")
        op.drop_index(f"ix_proxy_keys_{name}", table_name="proxy_keys")
        columns = ["org_id", "created_at", "id"]
        op.create_index(f"ix_proxy_keys_{name}", "proxy_keys", columns, sqlite_where=only, postgresql_where=only)
