"""Reading an object of a body so that nothing of it is lost: each field is taken, and what is left over is refused.

A null is as good as no field, as in all dialects here.
"""

import re
from collections.abc import Iterator
from typing import Any, Self, TypeVar

from proxyd.providers import BadBody
from proxyd.providers.body import MAX_COUNT

Kind = TypeVar("Kind")
# A name that may be repeated: what a client writes in its place could be a secret.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


def shown(name: str) -> str:
    """The name of a field or a parameter, as it may stand in an error."""
    return name if _PLAIN.fullmatch(name) else "a field"


def refusal(place: str, why: str = "cannot be said to a model of another provider") -> BadBody:
    """What is told of a field that is understood and cannot be translated."""
    return BadBody(f"{place} {why}. docs/translation.md says what is translated.", place)


class Fields:
    """One object, at `place` in the body."""

    __slots__ = ("_left", "place")

    def __init__(self, value: object, place: str = "") -> None:
        if not isinstance(value, dict):
            raise BadBody(f"{place or 'The body'} must be an object.", place or None)
        self.place = place
        self._left: dict[str, Any] = {name: each for name, each in value.items() if each is not None}

    def at(self, name: str) -> str:
        """The place of a field."""
        return f"{self.place}.{shown(name)}" if self.place else shown(name)

    def has(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> Any:
        """Whatever stands there; None: nothing."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        return self._typed(name, str, "a string")

    def needed(self, name: str) -> str:
        found = self.text(name)
        if found is None:
            raise BadBody(f"{self.at(name)} is missing.", self.at(name))
        return found

    def flag(self, name: str) -> bool | None:
        return self._typed(name, bool, "true or false")

    def count(self, name: str) -> int | None:
        """A whole number, with a point or without."""
        value = self.number(name)
        if value is not None and not (value.is_integer() and abs(value) <= MAX_COUNT):
            raise BadBody(f"{self.at(name)} must be a whole number.", self.at(name))
        return None if value is None else int(value)

    def number(self, name: str) -> float | None:
        value = self.take(name)
        if value is not None and type(value) not in (int, float):
            raise BadBody(f"{self.at(name)} must be a number.", self.at(name))
        return None if value is None else float(value)

    def mapping(self, name: str) -> dict[str, Any] | None:
        return self._typed(name, dict, "an object")

    def part(self, name: str) -> Self | None:
        """An object whose fields have to be taken as well."""
        value = self.mapping(name)
        return None if value is None else type(self)(value, self.at(name))

    def each(self, name: str) -> Iterator[Self]:
        """The objects of a list."""
        for position, value in enumerate(self.items(name)):
            yield type(self)(value, f"{self.at(name)}.{position}")

    def items(self, name: str) -> list[Any]:
        return self._typed(name, list, "a list") or []

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        found = self.items(name)
        if not all(isinstance(value, str) for value in found):
            raise BadBody(f"{self.at(name)} must be a list of strings.", self.at(name))
        return tuple(found)

    def only(self, name: str, *allowed: object) -> None:
        """Take a field that says nothing new if it has one of these values. Raises BadBody for any other."""
        value = self.take(name)
        if value is not None and not any(value == each and type(value) is type(each) for each in allowed):
            raise refusal(self.at(name))

    def hint(self, *names: str) -> None:
        """Take what does not change the answer and has its counterpart by itself: hints for a cache."""
        for name in names:
            self._left.pop(name, None)

    def done(self) -> None:
        """Raises BadBody for the first field that nobody took."""
        for name in self._left:
            raise refusal(self.at(name))

    def _typed(self, name: str, kind: type[Kind], called: str) -> Kind | None:
        value: Kind | None = self.take(name)
        if value is not None and type(value) is not kind:
            raise BadBody(f"{self.at(name)} must be {called}.", self.at(name))
        return value
