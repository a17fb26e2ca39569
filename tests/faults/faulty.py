"""A router that is hurt: its processes by their part, and the ways to end or to stop them."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from harness import START_SECONDS, Router, children_of, eventually


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


class FaultyRouter(Router):
    """The whole router, of whose supervisor nothing is taken for granted. `killed` counts processes, by their part."""

    def __init__(self, data_dir: Path, *, workers: int = 2, **settings: str) -> None:
        super().__init__(data_dir, workers=workers, **settings)
        self.killed: Counter[str] = Counter()
        self._groups: set[int] = set()
        self.workers = workers

    @property
    def supervisor_pid(self) -> int:
        return self.processes["proxy"].pid

    def worker_pids(self) -> list[int]:
        return [pid for pid in children_of(self.supervisor_pid) if "proxyd.writer" not in command_of(pid)]

    def writer_pids(self) -> list[int]:
        return [pid for pid in children_of(self.supervisor_pid) if "proxyd.writer" in command_of(pid)]

    def _spawn(self, name: str) -> None:
        super()._spawn(name)
        self._groups.add(self.processes[name].pid)

    def stop_all(self) -> None:
        try:
            super().stop_all()
        finally:
            self._end_groups()

    def _end_groups(self) -> None:
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return once all workers are there and say, several times in a row, that they can serve."""
        in_a_row, said = 0, "nothing"

        def ready() -> bool:
            nonlocal in_a_row, said
            workers = len(self.worker_pids())
            try:
                answer = requests.get(f"{self.proxy_url}/readyz", timeout=5)
            except requests.RequestException as error:
                said = f"{workers} workers, {error!r}"
                return False
            said = f"{workers} workers, {answer.text}"
            in_a_row = in_a_row + 1 if answer.ok and workers == self.workers else 0
            return in_a_row >= 4 * self.workers

        try:
            eventually(ready, seconds, "a router that is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}; last it said: {said}\n{self.log_of('proxy')[-4_000:]}") from None

    # Faults

    def kill(self, part: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed[part] += 1

    def kill_a_worker(self, chance: random.Random) -> None:
        if pids := self.worker_pids():
            self.kill("worker", chance.choice(pids))

    def kill_the_writer(self) -> None:
        for pid in self.writer_pids():
            self.kill("ledger writer", pid)

    def kill_the_supervisor(self) -> None:
        """Its workers and its ledger writer notice and end by themselves; nobody waits for them."""
        process = self.processes["proxy"]
        self.kill("supervisor", process.pid)
        process.wait()

    def kill_everything(self) -> None:
        """Supervisor, workers and ledger writer at once; provider and dashboard go on."""
        process = self.processes["proxy"]
        for part, pids in (("worker", self.worker_pids()), ("ledger writer", self.writer_pids())):
            self.killed[part] += len(pids)
        self.killed["supervisor"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @contextmanager
    def stopped(self, *pids: int) -> Iterator[None]:
        """These processes do nothing meanwhile (SIGSTOP)."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


# Builds a router of one's own, not started yet: the fixture `make`.
Make = Callable[..., FaultyRouter]


class Havoc:
    """Kills by chance, each after a random moment, so that they fall between any two steps of a request."""

    def __init__(self, router: FaultyRouter, chance: random.Random) -> None:
        self._router, self._chance = router, chance

    def once(self) -> str:
        """Do one thing; its name."""
        name = self._chance.choices(
            ("worker", "writer", "supervisor", "everything", "stopped worker", "stopped writer", "both", "reload"),
            weights=(30, 12, 6, 14, 5, 5, 5, 3),
        )[0]
        time.sleep(self._chance.random() * 0.7)
        router, chance = self._router, self._chance
        if name == "worker":
            router.kill_a_worker(chance)
        elif name == "writer":
            router.kill_the_writer()
        elif name == "both":
            router.kill_a_worker(chance)
            router.kill_the_writer()
        elif name in ("supervisor", "everything"):
            router.kill_the_supervisor() if name == "supervisor" else router.kill_everything()
            time.sleep(chance.random() * 0.3)
            router.start("proxy")
        elif name == "reload":
            # One that has just begun does not know the signal yet, and would end by it: it answers from its workers on.
            if router.worker_pids():
                os.kill(router.supervisor_pid, signal.SIGHUP)
        else:
            pids = router.worker_pids() if name == "stopped worker" else router.writer_pids()
            with router.stopped(*pids[:1]):
                time.sleep(chance.random() * 2.5)
        return name
