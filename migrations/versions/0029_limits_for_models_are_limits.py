"""Lists of keys with a limit, and of those without, know limits for models: two indexes in the place of two others.

On PostgreSQL the new ones are built after this, while keys are read and written (see webapp.large_indexes): whoever
drops an index shuts the table until the transaction ends, so nothing long may come after that. Until they are there
such lists are slower where there are very many keys, and so are those of the release before.

Revision 0029, after 0028.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

BEFORE = {
    "ix_proxy_keys_limited": "spend_limit_nanos IS NOT NULL",
    "ix_proxy_keys_unlimited": "spend_limit_nanos IS NULL",
}
SINCE = {
    "ix_proxy_keys_with_limit": "(spend_limit_nanos IS NOT NULL OR json_array_length(model_limits) > 0)",
    "ix_proxy_keys_without_limit": (
        "spend_limit_nanos IS NULL AND (model_limits IS NULL OR json_array_length(model_limits) = 0)"
    ),
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make(SINCE)
    for name in BEFORE:
        op.drop_index(name, table_name="proxy_keys")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")
    _make(BEFORE)  # keys are read meanwhile
    for name in SINCE:
        op.drop_index(name, table_name="proxy_keys", if_exists=True)  # one may not have been built


def _make(of: dict[str, str]) -> None:
    for name, keys in of.items():
        only = sa.text(f"{keys} AND revoked_at IS NULL")
        columns = ["org_id", "created_at", "id"]
        op.create_index(name, "proxy_keys", columns, sqlite_where=only, postgresql_where=only)
