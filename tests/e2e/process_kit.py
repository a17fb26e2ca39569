"""How processes of a test begin, and what they use as the kernel tells it: CPU, memory, descriptors."""

import ctypes
import os
import signal
from pathlib import Path

_LIBC = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL, _DROP_FROM_BOUNDING_SET = 1, 24
_CAPABILITIES = range(64)  # more than any kernel has
TICKS = os.sysconf("SC_CLK_TCK")


def become_a_service() -> None:
    """Between fork and exec: end with the test run, however that ends, and without a privilege even where root runs it."""
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    for capability in _CAPABILITIES:
        _LIBC.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


def tree(root: int) -> list[int]:
    """A process and all its descendants, without the dead."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return sorted(found)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional set size in MB: the second shares out what several processes have in common."""
    sizes = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(sizes["Rss"].split()[0]) / 1024, int(sizes["Pss"].split()[0]) / 1024


def peak_mb(pid: int) -> float:
    """The most that a process was ever resident with, in MB; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def descriptors(pid: int) -> int:
    """How many file descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
