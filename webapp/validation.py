"""From what a model of `webapp.schemas` objects to, to the faults that people and programs are told: all at once.

Pages, JSON and commands hand a document to an action; the action has it read here, by the same model for all of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.secret_text import holds_secret
from webapp.schemas import Input
from webapp.schemas.values import moment_in

Model = TypeVar("Model", bound=Input)

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


def read(
    model: type[Model],
    document: Mapping[str, object],
    *,
    served: Mapping[str, Any] | None = None,
    **context: object,
) -> Model:
    """The document as a value of the model. `context` is what its readers judge by. Raises Invalid with every fault.

    `served` is what a patch is about, as it is told: what the router sets of it may be sent back.
    """
    said = {name: value for name, value in document.items() if not _is_sent_back(model, name, value, served or {})}
    # Pydantic tells of nothing else where the name of a field is no text.
    unreadable = [name for name in said if not _is_text(name)]
    faults = [FieldError(told_name(name), _WORDS["extra_forbidden"]) for name in unreadable]
    for name in unreadable:
        del said[name]
    wrong: frozenset[str] = frozenset()
    try:
        found = model.model_validate(said, context=context)
    except ValidationError as error:
        faults += _faults(error, model.read_only)
        wrong = frozenset(str(fault["loc"][0]) for fault in error.errors(include_url=False, include_input=False))
        found = _sound_part(model, said, wrong, context)
    faults += [FieldError(name, message) for name, message in found.judge(wrong, context)]
    if faults:
        raise Invalid(*faults)
    return found


def _sound_part(
    model: type[Model], said: Mapping[str, object], wrong: frozenset[str], context: dict[str, object]
) -> Model:
    """The fields that are right by themselves; every other one has its default, or is not there."""
    part = model.model_construct()
    for name, field in model.model_fields.items():
        told = field.alias or name
        if told in said and told not in wrong:
            model.__pydantic_validator__.validate_assignment(part, name, said[told], context=context)
    return part


def _is_sent_back(model: type[Input], name: str, said: object, served: Mapping[str, Any]) -> bool:
    """Whether a field that the router sets says what is served, or what may have been served a moment ago."""
    if name not in model.read_only or name not in served:
        return False
    if said == served[name] or (name in model.moving and model.moving[name](said, served)):
        return True
    before = moment_in(said)
    return before is not None and before == moment_in(served[name])


def _is_text(name: str) -> bool:
    """Whether a name can be encoded: JSON may hold halves of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


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
    if holds_secret(name):
        return "(what looks like a secret)"
    return name[:_LONGEST_NAME].encode("utf-8", "backslashreplace").decode()
