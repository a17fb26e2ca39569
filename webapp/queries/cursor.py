"""Where a page of a list ends, as a text for whoever asks for the next one. It names the list that it belongs to."""

import base64
import json

from webapp.validation import FieldError, Invalid


def encode(kind: str, value: str, row_id: str) -> str:
    """Of the last row: what the list is sorted by, and its id, which breaks ties."""
    return base64.urlsafe_b64encode(json.dumps([kind, value, row_id]).encode()).decode().rstrip("=")


def decode(kind: str, cursor: str) -> tuple[str, str]:
    """The value and the id. Raises Invalid."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        text = base64.b64decode(padded, altchars=b"-_", validate=True)
        found, value, row_id = json.loads(text)
        if found != kind or not isinstance(row_id, str) or not isinstance(value, str):
            raise foreign()
        if "\0" in value + row_id:
            raise foreign()  # no row has one, and PostgreSQL takes none
        (value + row_id).encode()  # nor half a surrogate pair
    except (ValueError, TypeError, RecursionError):
        raise foreign() from None
    return value, row_id


def foreign() -> Invalid:
    """The refusal of a cursor that no list of ours has made."""
    return Invalid(FieldError("cursor", "is not one that this list gave; start without it"))
