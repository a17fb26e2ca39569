"""The policy epoch: a counter per organisation that moves with every change of what its keys may do.

Whoever writes policy bumps it after the commit and before the answer; whoever admits a request compares it with the
epoch of the snapshot that was judged. So an answered change holds for every request that starts after it.

Epochs follow the clock (microseconds), and always rise: after the counters were lost, the next change gets a number
that no snapshot was ever loaded under, where counting from zero would meet an old one again.
"""

from shared.counters.database import Database

READ = "SELECT number FROM epoch WHERE org_id = ?"


def read(database: Database, org_id: str) -> int:
    """The organisation's epoch; 0 when it was never bumped."""
    rows = database.read(READ, (org_id,))
    return int(rows[0][0]) if rows else 0


def bump(database: Database, org_id: str) -> int:
    """Move the epoch on and answer with the new one."""
    with database.transaction() as session:
        sql = (
            "INSERT INTO epoch VALUES (?, ?) ON CONFLICT DO UPDATE "
            "SET number = max(number + 1, excluded.number) RETURNING number"
        )
        ((number,),) = session.execute(sql, (org_id, int(session.now * 1_000_000))).fetchall()
        return int(number)
