"""The parameters in an address, read strictly: none that is unknown, none twice unless it is a list."""

from typing import TypeVar, get_args, get_origin

from flask import request

from webapp.access import current_actor
from webapp.context import now
from webapp.schemas import Input
from webapp.schemas.lists import UsageQuery
from webapp.validation import FieldError, Invalid, read, told_name
from webapp.views.calendar import zone_of

Model = TypeVar("Model", bound=Input)


def read_query(model: type[Model]) -> Model:
    """The request's query as a value of the model. Raises Invalid with every fault.

    A parameter that is a list may be given several times, and with commas.
    """
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    found: dict[str, object] = {}
    errors = []
    for name, values in request.args.lists():
        if name not in fields:
            known = ", ".join(fields)
            errors.append(FieldError(told_name(name), f"is not a known parameter; choose from {known}"))
        elif _is_list(fields[name]):
            found[name] = [part.strip() for value in values for part in value.split(",")]
        elif len(values) > 1:
            errors.append(FieldError(name, "occurs twice"))
        else:
            found[name] = values[0]
    try:
        zone = zone_of(current_actor().org_id) if issubclass(model, UsageQuery) else None
        query = read(model, found, now=now(), zone=zone)
    except Invalid as error:
        raise Invalid(*errors, *error.errors) from None
    if errors:
        raise Invalid(*errors)
    return query


def _is_list(annotation: object) -> bool:
    """Whether an annotation is of a list, perhaps among others."""
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))
