"""O05: a backup of the database is put back. What happened since lies in the journals, and is imported once more."""

from accounting_kit import Router, Worker
from sqlalchemy import text


def die(router: Router, worker: Worker) -> None:
    router.workers.remove(worker)
    worker.kill()
    router.rest()


def put_back(router: Router, *known: str) -> None:
    """As the database was before anything had ended: these workers were entered already, the others not yet."""
    with router.engine.begin() as connection:
        for table in ("usage_records", "usage_daily", "key_spend"):
            connection.execute(text(f"delete from {table}"))
        entered = "('" + "', '".join(known) + "')"
        connection.execute(text(f"delete from journals where worker_id not in {entered}"))
        connection.execute(text("update journals set closed_at = null, segment = 1, position = 0, end_number = 0"))


def test_it_works(router: Router, worker: Worker) -> None:
    first, known = worker.begin(), worker.id
    worker.settle(first, 300)
    die(router, worker)
    late = router.worker()
    late.settle(late.begin(), 500)
    die(router, late)
    rows = router.ledger_rows()
    assert [cost for _, cost in rows] == [300, 500]
    put_back(router, known)
    router.writer = router.new_writer()
    router.writer.start()
    router.rest()
    assert router.ledger_rows() == rows
    assert router.database.open_journals("machine_1") == []
    again = router.worker()
    router.rest(again)
    again.begin()
    assert again.counters.rows(["key_1"])["key_1"].lifetime == 800


def test_a_journal_that_is_closed_is_left_alone(router: Router, worker: Worker) -> None:
    worker.settle(worker.begin(), 300)
    die(router, worker)
    for _ in range(2):
        router.writer = router.new_writer()
        router.writer.start()
        router.rest()
    assert [cost for _, cost in router.ledger_rows()] == [300]
    assert not list((router.directory / "journals").glob("*.lock"))
