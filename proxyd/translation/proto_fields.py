"""Fields of a body that Google's APIs read, by the JSON mapping of protocol buffers.

Every name has two spellings, a whole number may be text, and one message may stand where a list of them belongs; see
`proxyd.providers.protobuf_json`.
"""

from typing import Any

from proxyd.providers import BadBody
from proxyd.providers.gemini_request import camel
from proxyd.providers.protobuf_json import NUMBER
from proxyd.translation.fields import Fields


class ProtoFields(Fields):
    """Fields are taken by their name in camel case, and refused by the one that was written."""

    __slots__ = ("_written",)

    def __init__(self, value: object, place: str = "") -> None:
        super().__init__(value, place)
        self._written: dict[str, str] = {}
        for name in self._left:
            if camel(name) in self._written:
                field = super().at(camel(name))
                raise BadBody(f"{field} stands in the body in both of its spellings.", field)
            self._written[camel(name)] = name
        self._left = {plain: self._left[name] for plain, name in self._written.items()}

    def at(self, name: str) -> str:
        return super().at(self._written.get(name, name))

    def number(self, name: str) -> float | None:
        value = self._left.get(name)
        if isinstance(value, str) and NUMBER.fullmatch(value):
            self._left[name] = float(value)
        return super().number(name)

    def items(self, name: str) -> list[Any]:
        value = self._left.get(name)
        if isinstance(value, dict):
            self._left[name] = [value]
        return super().items(name)
