"""What the processes of a router use, as the kernel tells it: CPU by kind of process, and memory."""

from dataclasses import dataclass
from pathlib import Path

from process_kit import cpu_seconds, tree

_LISTENING = "0A"


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU (user and system) that each process had used at one moment, and what kind of process it is."""

    seconds: dict[int, float]
    kinds: dict[int, str]  # "supervisor", "worker", "ledger writer"

    def since(self, before: "Cpu") -> dict[str, float]:
        """Seconds by kind since an earlier moment. A process that came or went in between makes the figure worthless."""
        assert self.seconds.keys() == before.seconds.keys(), "a process of the router was replaced under load"
        found = dict.fromkeys(("supervisor", "worker", "ledger writer"), 0.0)
        for pid, seconds in self.seconds.items():
            found[self.kinds[pid]] += seconds - before.seconds[pid]
        return found


def cpu_of(supervisor: int, port: int) -> Cpu:
    """CPU of a proxy's supervisor and of all below it; `port` is where its workers listen."""
    pids = tree(supervisor)
    return Cpu({pid: cpu_seconds(pid) for pid in pids}, {pid: kind_of(pid, supervisor, port) for pid in pids})


def workers_of(supervisor: int, port: int) -> list[int]:
    return [pid for pid in tree(supervisor) if kind_of(pid, supervisor, port) == "worker"]


def kind_of(pid: int, supervisor: int, port: int) -> str:
    """Told by what a process does: a worker listens, whoever else is there does not, or says that it is the other."""
    if pid == supervisor:
        return "supervisor"
    named = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/comm").read_bytes()
    return "worker" if b"ledger" not in named and _listens(pid, port) else "ledger writer"


def _listens(pid: int, port: int) -> bool:
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port
    }
    try:
        return any(str(path.readlink()) in sockets for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
