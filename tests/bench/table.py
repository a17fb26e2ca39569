"""The table of a run: what must be, what is wanted, what was measured."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Goal:
    """What a figure must reach and what is wanted of it; `floor`: more is better."""

    must: float
    wanted: float
    floor: bool = False

    def verdict(self, measured: float) -> str:
        if self._reached(self.wanted, measured):
            return "wanted"
        return "must" if self._reached(self.must, measured) else "MISSED"

    def _reached(self, goal: float, measured: float) -> bool:
        return measured >= goal if self.floor else measured <= goal


GOALS = {
    "router / nginx as plain proxy, requests/s at 32 connections": Goal(0.25, 0.37, floor=True),
    "CPU of all processes, us a request": Goal(80, 58),
    "CPU a request, 2 workers / 1": Goal(1.35, 1.2),
    "CPU a request, 4 workers / 1": Goal(1.35, 1.2),
    "added median at 1 connection, ms": Goal(0.20, 0.11),
    "added p99 at 1 connection, ms": Goal(1.0, 0.3),
    "p99 at 32 connections, ms": Goal(8, 3),
    "resident, fresh worker, MB": Goal(70, 55),
    "resident, worker after the load, MB": Goal(90, 65),
    "CPU a request, no output limit / with one": Goal(1.10, 1.10),
    "streams: CPU of the worker, us an event": Goal(24, 15),
    "streams: added p99, ms": Goal(60, 20),
}

# What is different where the database and the counters stand on servers, for several machines.
SERVER_GOALS = {
    "router / nginx as plain proxy, requests/s at 32 connections": Goal(0.22, 0.35, floor=True),
    "CPU of the worker, on servers / on files": Goal(1.3, 1.3),
    "added median at 1 connection, ms": Goal(0.3, 0.3),
}

SCALE_GOALS = {
    "cold start to ready, s": Goal(3, 3),
    "cold start, largest process at its peak, MB": Goal(250, 250),
    "keys in turn / one key, CPU": Goal(1.3, 1.3),
    "resident, worker with these keys used, MB": Goal(170, 170),
    "counters lost: longest pause of uncapped keys, s": Goal(0.5, 0.2),
    "counters lost: longest pause of capped keys, s": Goal(2, 2),
    "counters lost: uncapped requests refused": Goal(0, 0),
    "counters lost: largest process at its peak, MB": Goal(250, 250),
    "edits: requests of others refused": Goal(0, 0),
    "edits: p99 of others, with / without": Goal(2, 1.2),
}


@dataclass
class Table:
    """Figures by name in the order in which they first came; of each, all rounds."""

    goals: Mapping[str, Goal]
    rounds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, figure: float) -> None:
        self.rounds[name].append(figure)

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def missed(self) -> list[str]:
        return [
            name
            for name, goal in self.goals.items()
            if self.rounds.get(name) and goal.verdict(self.median(name)) == "MISSED"
        ]

    def lines(self) -> list[str]:
        lines = ["| | must | wanted | measured | least | most | |", "|---|---|---|---|---|---|---|"]
        for name, figures in self.rounds.items():
            goal = self.goals.get(name)
            must, wanted = (_said(goal.must), _said(goal.wanted)) if goal else ("", "")
            verdict = goal.verdict(self.median(name)) if goal else ""
            shown = " | ".join(_said(figure) for figure in (self.median(name), min(figures), max(figures)))
            lines.append(f"| {name} | {must} | {wanted} | {shown} | {verdict} |")
        return lines


def _said(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
