"""Two machines, each with its data directory, ledger writer and workers, on one Redis server and one database."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from accounting_kit import HandClock, Router, Worker, charge
from redis_kit import RedisServer
from sqlalchemy import Engine

from proxyd.accounting.copy_import import CopyImport, Imported
from proxyd.accounting.journal_copies import open_copy
from shared.counters import Counters, CountersUnavailable, Decision
from shared.counters.redis.counters import RedisCounters
from shared.machines import AWAY_SECONDS

MOST_ROUNDS = 18  # until all is at rest, of each machine


class Machine(Router):
    """One of them. While it is away it reaches no counters, and its ledger writer stands still."""

    def __init__(self, home: Path, name: str, engine: Engine, server: RedisServer, clock: HandClock) -> None:
        self.away = False
        directory = home / name
        directory.mkdir()
        super().__init__(directory, engine, machine=f"machine_{name}", counters_url=server.url, clock=clock)
        self.server = server

    def lose_counters(self) -> None:
        self.server.empty()

    def rounds(self, count: int = 1) -> int:
        return 0 if self.away else super().rounds(count)

    def worker(self) -> Worker:
        worker = super().worker()
        if self.away:
            cut(worker.counters)
        return worker

    def go_away(self) -> None:
        self.away = True
        for counters in (self.writer._counters, *(worker.counters for worker in self.workers)):
            cut(counters)

    def come_back(self) -> None:
        self.away = False
        for counters in (self.writer._counters, *(worker.counters for worker in self.workers)):
            mend(counters)

    def restart(self) -> None:
        """Everything of it is killed and started again, without a worker yet."""
        while self.workers:
            self.workers.pop().kill()
        self.writer = self.new_writer()
        self.writer.start()


def copy_of(machine: Machine, to: Path) -> Path:
    """What an operator saves of a machine: its journals and its name."""
    shutil.copytree(machine.directory / "journals", to / "journals")
    (to / "machine_id").write_text(f"{machine.machine}\n", encoding="ascii")
    return to


def import_copy(by: Machine, copy: Path, *, dry_run: bool = False) -> Imported:
    """As `ledger import` does it on another machine."""
    with open_copy(copy, by.directory) as folder:
        return CopyImport(by.database, by.ledger, by.machine).run(folder.journals, folder.machine, dry_run=dry_run)


class Machines:
    """A and B. A was there first."""

    def __init__(self, home: Path, engine: Engine, server: RedisServer) -> None:
        server.empty()
        self.server = server
        self.clock = HandClock()
        self.a = Machine(home, "a", engine, server, self.clock)
        self.a.rounds()
        self.b = Machine(home, "b", engine, server, self.clock)
        self.both = (self.a, self.b)

    def rounds(self, count: int = 1) -> None:
        """Of both ledger writers."""
        for _ in range(count):
            for machine in self.both:
                machine.rounds()

    def rest(self) -> None:
        """Go on without faults until three rounds in a row have changed nothing."""
        last: object = None
        unchanged = 0
        for _ in range(MOST_ROUNDS):
            imported = 0
            for machine in self.both:
                for worker in machine.workers:
                    with contextlib.suppress(CountersUnavailable):
                        worker.keep()
                        worker.accounting.flush()
                imported += machine.rounds()
            found = self.status()
            unchanged = unchanged + 1 if (found, imported) == (last, 0) else 0
            if unchanged == 3:
                return
            last = found

    def status(self) -> object:
        """What another round may still change: the counters, as all see them, and who goes by which."""
        try:
            return self.a.observer.status(), self.generations()
        except CountersUnavailable:
            return None, self.generations()

    def generations(self) -> list[int]:
        """That of the database, and that which each machine goes by."""
        return [self.a.database.generation(), *(machine.writer.shared_state.generation for machine in self.both)]

    def wait_until_away(self) -> None:
        """So long that a machine which has not posted meanwhile is away."""
        for _ in range(int(AWAY_SECONDS) + 1):
            self.clock.forward(1.0)
            self.rounds()

    def close(self) -> None:
        for machine in self.both:
            machine.observer.close()
            for worker in machine.workers:
                worker.kill()


def cut(counters: Counters) -> None:
    """Let nothing through to the server, as a network that is cut does."""

    def refuse(_: object) -> None:
        raise CountersUnavailable("cut")

    assert isinstance(counters, RedisCounters)
    counters._link._tried = refuse  # type: ignore[method-assign, assignment]


def mend(counters: Counters) -> None:
    assert isinstance(counters, RedisCounters)
    counters._link.__dict__.pop("_tried", None)


def go_away(machines: Machines) -> None:
    """B, so long that it is away for A."""
    machines.b.go_away()
    machines.wait_until_away()


def told(found: Imported) -> tuple[int, int, int, int]:
    """Rows and nano-dollars of what had ended, and of what had not."""
    return found.ended, found.ended_nanos, found.crashed, found.crashed_nanos


# Of each machine's first worker


def held_by(machine: Machine, *bounds: int) -> list[int]:
    return [machine.workers[0].begin(bound) for bound in bounds]


def ask(machine: Machine, bound: int, limit: int = 10_000, **fields: Any) -> Decision:
    return machine.workers[0].admit(charge(bound_nanos=bound, spend_limit_nanos=limit, **fields))[1]


def refusal(machine: Machine) -> Exception | None:
    try:
        ask(machine, 1)
    except CountersUnavailable as error:
        return error
    return None
