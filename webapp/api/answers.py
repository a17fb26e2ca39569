"""What the views share: the query's parameters in, JSON out."""

from typing import Any

from flask import Response, json, request

from webapp.validation import FieldError, Invalid


def parameters(known: tuple[str, ...]) -> dict[str, str]:
    """The query's parameters. Raises Invalid for an unknown one and for one that is given twice."""
    errors = []
    for name, values in request.args.lists():
        if name not in known:
            errors.append(FieldError(name[:60], f"is not a known parameter; choose from {', '.join(known)}"))
        elif len(values) > 1:
            errors.append(FieldError(name, "occurs twice"))
    if errors:
        raise Invalid(*errors)
    return request.args.to_dict()


def limit(text: str | None) -> int:
    """How many are wanted on a page."""
    if text is None:
        return 50
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid(FieldError("limit", "must be a whole number from 1 to 200"))
    return int(text)


def as_json(document: dict[str, Any], status: int = 200) -> Response:
    """An answer that nobody keeps."""
    return Response(json.dumps(document), status, {"Cache-Control": "no-store"}, mimetype="application/json")


def a_page(items: list[dict[str, Any]], next_cursor: str | None) -> Response:
    """A page of a list."""
    return as_json({"data": items, "has_more": next_cursor is not None, "next_cursor": next_cursor})
