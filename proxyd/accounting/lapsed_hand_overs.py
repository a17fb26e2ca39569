"""Links to secrets that nobody opened in their time: the secrets are forgotten.

The ledger writer's database user may write nothing else of them, and nothing into the audit log. So it empties what is
sealed, and a trigger (migration 0020) removes such a row and writes down that the link lapsed.
"""

from datetime import UTC, datetime

from sqlalchemy import Connection, update

from shared.models import HandOver


def forget_lapsed(connection: Connection) -> int:
    """Forget them, in the caller's transaction; answers with how many there were. Raises SQLAlchemyError."""
    # By the one column that this user may read; what is emptied is gone at once, so none is met twice.
    lapsed = update(HandOver).where(HandOver.expires_at <= datetime.now(UTC))
    return connection.execute(lapsed.values(sealed=b"")).rowcount
