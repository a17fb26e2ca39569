"""Errors of the JSON API, as RFC 9457 tells them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Response, g, json

from webapp.actions.policy import NotInForce
from webapp.context import Conflict, NotFound
from webapp.validation import FieldError, Invalid


class Problem(Exception):
    """An error answer. `code` is the stable name for programs; `detail` is for people and holds no secret."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> Response:
        """The answer: `type` and `code` name the error, `errors` the fields."""
        document = {
            "type": f"urn:enterprise-router:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": g.get("request_id"),
            "errors": [{"field": error.field, "message": error.message} for error in self.errors],
            **self.extra,
        }
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(json.dumps(document), self.status, headers, mimetype="application/problem+json")


def problem_of(error: Exception | None) -> Problem:
    """What an action or a query raised, as it is told."""
    if isinstance(error, Invalid):
        return Problem(422, "invalid", error.detail, errors=error.errors)
    if isinstance(error, Conflict):
        return Problem(412 if error.code == "version_mismatch" else 409, error.code, error.message)
    if isinstance(error, NotInForce):
        return Problem(503, "saved_but_not_announced", str(error))
    if isinstance(error, NotFound):
        return Problem(404, "not_found", "There is nothing of this id in your organisation.")
    raise TypeError(f"no action raises {type(error).__name__}")
