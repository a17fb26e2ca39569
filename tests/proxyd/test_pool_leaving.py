"""Workers that leave, and a pool that ends, while clients go on asking: nobody's request is lost."""

import os
import signal
import threading

from pool_kit import Pool, until


def test_a_kept_connection_has_its_last_answer_from_the_worker_that_leaves(pool: Pool) -> None:
    with pool.connect() as kept:
        ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        kept.sendall(ask)
        first = kept.recv(65536)
        pool.signal(signal.SIGHUP)
        until(lambda: len(list(pool.directory.glob("start-*"))) == 4)
        answer = first
        while b"connection: close" not in answer:
            kept.sendall(ask)
            answer = kept.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.rpartition(b"\n")[2] == first.rpartition(b"\n")[2]
        assert kept.recv(65536) == b""


def test_the_supervisor_looks_after_its_workers_while_old_ones_leave(pool: Pool) -> None:
    """One of the old ones is kept by a connection on which nothing is asked."""
    with pool.connect() as kept:
        kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        old = int(kept.recv(65536).rpartition(b"\n")[2])
        before = pool.started()
        pool.signal(signal.SIGHUP)
        until(lambda: len(pool.started()) == 4)
        os.kill((pool.started() - before).pop(), signal.SIGKILL)
        until(lambda: len(pool.started()) == 5, 5)
        assert not (pool.directory / f"stop-{old}").exists()


def test_whoever_is_connected_at_the_end_is_answered(pool: Pool) -> None:
    """Others are refused, which tells them that nothing was done; nobody's request is taken in and lost."""
    lost: list[Exception | str] = []

    def ask() -> None:
        while True:
            try:
                sock = pool.connect()
            except OSError:
                return
            with sock:
                try:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                        lost.append("closed")
                except OSError as error:
                    lost.append(error)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    pool.signal(signal.SIGTERM)
    assert pool.process.wait(timeout=8) == 0
    for thread in asking:
        thread.join()
    assert lost == []
