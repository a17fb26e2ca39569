"""Errors of the JSON API, as RFC 9457 tells them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Response, g, json

from webapp.validation import FieldError


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
