"""From what a model of `webapp.schemas` objects to, to the faults that people and programs are told: all at once.

Pages, JSON and commands hand a document to an action; the action has it read here, by the same model for all of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.secret_text import holds_secret

Model = TypeVar("Model", bound=BaseModel)

_LONGEST_NAME = 60
_LONGEST_DETAIL = 1000
# What Pydantic itself objects to, before a reader of ours has seen the value.
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field, in a sentence for people. `field` is its JSON name, "" for the whole."""

    field: str
    message: str


class Invalid(Exception):
    """The input cannot be taken. Nothing was written."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors

    @property
    def detail(self) -> str:
        """Every fault in one text, such as `name: is required; rate_limit_rpm: must be a whole number, such as 60`."""
        told = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in self.errors)
        if len(told) > _LONGEST_DETAIL:
            told = f"{told[:_LONGEST_DETAIL]}... ({len(self.errors)} faults in all)"
        return told


def read(model: type[Model], document: Mapping[str, object], **context: object) -> Model:
    """The document as a value of the model. `context` is what its readers judge by. Raises Invalid with every fault."""
    try:
        return model.model_validate(dict(document), context=context)
    except ValidationError as error:
        raise Invalid(*_faults(error, getattr(model, "read_only", frozenset()))) from None


def _faults(error: ValidationError, read_only: frozenset[str]) -> Iterator[FieldError]:
    for fault in error.errors(include_url=False, include_input=False):
        kind, place = fault["type"], fault["loc"]
        if kind == "of_field":  # which only the whole could judge
            place, message = (fault["ctx"]["field"],), fault["ctx"]["message"]
        elif kind == "value_error":
            message = str(fault["ctx"]["error"])
        elif kind == "extra_forbidden" and place[0] in read_only:
            message = "is set by the router and cannot be changed"
        else:
            message = _WORDS.get(kind) or fault["msg"].removeprefix("Input ").lower()
        yield FieldError(_field(place), message)


def _field(place: tuple[Any, ...]) -> str:
    """The dotted name of a field. Entries of a list are told by what they say; entries that have fields, by number."""
    parts = []
    for position, part in enumerate(place):
        if part == "[key]":  # Pydantic's own word for the name in a mapping, which stands before it
            continue
        if isinstance(part, str):
            parts.append("." + told_name(part))
        elif any(isinstance(later, str) for later in place[position + 1 :]):
            parts.append(f"[{part}]")
    return "".join(parts).removeprefix(".")


def told_name(name: str) -> str:
    """The name of a field that somebody made up, as it may be repeated."""
    return "(what looks like a secret)" if holds_secret(name) else name[:_LONGEST_NAME]
