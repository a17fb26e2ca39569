"""From models to answers: JSON with an ETag where there is one, and tables that no spreadsheet takes for formulas."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from flask import Response, request
from pydantic import BaseModel

from webapp.api.problems import Problem
from webapp.csv_cells import defused
from webapp.validation import FieldError

_TAG = re.compile(r'(?:W/)?"v([0-9]{1,9})(?:-[0-9a-f]+)?"')
_ANY_TAG = r'(?:W/)?"[!\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(_ANY_TAG)
_LIST_OF_TAGS = re.compile(rf"[ \t,]*{_ANY_TAG}(?:[ \t]*,[ \t,]*{_ANY_TAG})*[ \t,]*")


class Amount(str):
    """A number in digits, perhaps below nothing: in a table it stays one."""

    __slots__ = ()


def answer(
    model: BaseModel, status: int = 200, *, etag: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The model as JSON, not to be stored; 304 without a body when the reader has it already."""
    sent = {"Cache-Control": "no-store", **(headers or {})}
    if etag is not None:
        sent["ETag"] = f'"{etag}"'
        if request.method == "GET" and _is_known(etag):
            return Response(status=304, headers=sent)
    text = model.model_dump_json(by_alias=True)
    return Response(text, status, sent, mimetype="application/json")


def if_version() -> frozenset[int] | None:
    """The versions of which If-Match demands one (RFC 9110, 13.1.1); None when any will do. Raises Problem.

    A tag that is none of ours matches nothing. Tags are compared weakly: a compressing proxy on the way (nginx) marks
    those that it passes on as weak.
    """
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    if _LIST_OF_TAGS.fullmatch(header) is None:
        message = 'must be the ETag of what you have seen, in its quotes, such as "v3", several with commas, or *'
        raise Problem(400, "invalid_if_match", f"If-Match: {message}", errors=[FieldError("If-Match", message)])
    return frozenset(int(tag[1]) for tag in map(_TAG.fullmatch, _TAGS.findall(header)) if tag is not None)


def refuse_if_match() -> None:
    """Refuse an edit that is tied to a version of what has none: no tag fits it, only `*` does. Raises Problem."""
    if if_version() is not None:
        message = "names a version of something that has no ETag, so none fits; leave it out"
        raise Problem(412, "version_mismatch", f"If-Match: {message}", errors=[FieldError("If-Match", message)])


def table(name: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> Response:
    """A CSV file of lines; numbers stay numbers, and texts are texts to whatever opens them."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    for line in lines:
        writer.writerow([defused(cell) if type(cell) is str else cell for cell in line])
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.getvalue(), 200, headers, content_type="text/csv; charset=utf-8")


def _is_known(etag: str) -> bool:
    """Whether If-None-Match names this tag, compared weakly (RFC 9110, 13.1.2)."""
    header = request.headers.get("If-None-Match", "").strip()
    return header == "*" or any(tag.removeprefix("W/") == f'"{etag}"' for tag in _TAGS.findall(header))
