"""What this router takes and answers with, as Pydantic models: one set for forms, JSON, commands and OpenAPI.

Law of this package: it knows no database, no request and no page. A model that is read forbids unknown fields and says
for people what it objects to; its values are columns, ready to be stored. A model that is answered with is filled from
a view by its attributes, and what is in no model is told to nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

# The JSON name of a field, and what is wrong with it as the end of a sentence.
Fault = tuple[str, str]


class Input(BaseModel):
    """What is read: nothing is guessed, and nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    # What the router sets: sent back as it was served it is ignored, and nobody changes it.
    read_only: ClassVar[frozenset[str]] = frozenset()
    # Of these, what moves by itself: whether what was said may have been served a moment ago, by what is served now.
    moving: ClassVar[Mapping[str, Callable[[Any, Mapping[str, Any]], bool]]] = {}

    def judge(self, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
        """What only several fields together tell; what follows from them is put right here.

        `webapp.validation.read` asks for it also where single fields are wrong (`wrong`, by their JSON names), so that
        everything is told at once. These hold their defaults, or nothing at all, and are no ground for a fault.
        """
        del wrong, context
        yield from ()


class Stored(Input):
    """What is read, each field of it the value of a column."""

    renamed: ClassVar[Mapping[str, str]] = {}  # the column of a field, where it is not the one of its name
    nothing: ClassVar[Mapping[str, Any]] = {}  # what a column holds when nothing was set; the others hold NULL

    def columns(self) -> dict[str, Any]:
        """The columns of what was said, and of nothing else."""
        found = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            found[self.renamed.get(name, name)] = self.nothing.get(name) if value is None else value
        return found


class Output(BaseModel):
    """What is answered with."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")
