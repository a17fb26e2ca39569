"""What a verification finds, as values."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["row", "daily", "total", "label", "model", "organization", "organization_label", "tag", "counters"]

KEPT = 1_000  # differences that are kept in full; of the others only the number is, so that memory stays bounded


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what it should be. `expected` and `found` are None where there is no figure at all."""

    kind: Kind
    key_id: str | None  # None: of an organisation's sums
    field: str
    expected: int | str | None
    found: int | str | None
    row_id: str | None = None
    day: str | None = None  # ISO; None: of all days, or of none
    provider: str | None = None
    model: str | None = None
    org_id: str | None = None  # of an organisation's sums
    label: str | None = None  # of a label's sums
    tag: str | None = None  # of a tag's sums; empty: of all keys that have any

    def __str__(self) -> str:
        of_model = f"{self.provider} {self.model or '(no model)'}"
        of_tag = f"the tag {self.tag!r}" if self.tag else "any tag"
        where = {
            "row": f"row {self.row_id} of {self.key_id} on {self.day}",
            "daily": f"daily sum of {self.key_id} on {self.day} for {of_model}",
            "label": f"sum of {self.key_id} on {self.day} under the label {self.label!r}",
            "model": f"sum of {self.key_id} on {self.day or 'all days'} for {of_model}, as it was asked for",
            "organization": f"sum of organisation {self.org_id} on {self.day} for {of_model}",
            "organization_label": f"sum of organisation {self.org_id} on {self.day} under the label {self.label!r}",
            "tag": f"sum of organisation {self.org_id} on {self.day} for keys with {of_tag}",
            "total": f"total of {self.key_id} on {self.day or 'all days'}",
            "counters": f"counters of {self.key_id}",
        }[self.kind]
        return f"{where}: {self.field} is {_said(self.found)}, should be {_said(self.expected)}"


def _said(value: int | str | None) -> str:
    return "missing" if value is None else str(value)


@dataclass(slots=True)
class Report:
    """The sum of a verification. `rows` is how many there were, the counts below say how far each could be judged."""

    rows: int = 0
    recomputed: int = 0  # rows whose cost follows from their counts and their price
    estimated: int = 0  # of those: the counts are what was delivered, not what the provider reported
    unpriced: int = 0  # rows without a price, which must cost nothing
    crashed: int = 0  # rows of a worker that died: no counts, charged what was known
    adjusted: int = 0  # rows that correct an earlier estimate
    organization_days: int = 0  # days of organisations whose sums were compared with those of their keys
    keys: int = 0
    counters_agree: int = 0  # keys, and organisations that have limits
    counters_unknown: int = 0  # keys that the counters have no row of
    counters_busy: int = 0  # keys with requests in flight all the while
    organizations_busy: list[str] = field(default_factory=list)  # of those: organisations, by id
    counters_problem: str | None = None  # why the counters could not be compared at all
    difference_count: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        self.difference_count += 1
        if len(self.differences) < KEPT:
            self.differences.append(difference)

    @property
    def exit_code(self) -> int:
        """0: all agrees; 1: something differs; 2: nothing differs, but not everything could be checked."""
        if self.difference_count:
            return 1
        return 0 if self.counters_problem is None else 2

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from map(str, self.differences)
        if self.difference_count > len(self.differences):
            yield f"... and {self.difference_count - len(self.differences)} more"
        yield (
            f"{self.rows} rows of {self.keys} keys: {self.recomputed} recomputed ({self.estimated} from "
            f"estimated counts), {self.unpriced} without a price, {self.crashed} of workers that died, "
            f"{self.adjusted} adjustments"
        )
        if self.organization_days:
            yield f"sums of organisations on {self.organization_days} days were compared with those of their keys"
        if self.counters_problem is None:
            yield (
                f"counters of {self.counters_agree} keys agree; {self.counters_unknown} do not know their key yet, "
                f"{self.counters_busy} had requests in flight and were not compared"
            )
            if self.organizations_busy:
                busy = ", ".join(self.organizations_busy)
                yield f"counters of these organisations were seen to be no less than the ledger, and no more: {busy}"
        else:
            yield f"counters were not compared: {self.counters_problem}"
        yield {
            0: "all agrees",
            1: f"{self.difference_count} differences",
            2: "nothing differs, but not everything could be checked",
        }[self.exit_code]
