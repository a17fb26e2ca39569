"""The library between Flask and the models: what a view takes and answers stands on it, and OpenAPI comes of that.

SpecTree keeps which models belong to which view and makes the document of them. How a request is read is ours (see
`StrictPlugin`), because this API promises more than the library does: every fault at once, names that occur twice,
numbers as they were written, problem details.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel
from spectree import Response, SecurityScheme, SpecTree
from spectree.model_adapter.protocol import SchemaMode
from spectree.model_adapter.pydantic_adapter import PydanticModelAdapter
from spectree.models import SecureType, SecuritySchemeData
from spectree.plugins.flask_plugin import FlaskPlugin

from shared.models import SCOPES
from webapp.access import scope
from webapp.api.answers import refuse_if_match
from webapp.api.bodies import Body, read_document, refuse_content
from webapp.api.queries import read_query
from webapp.schemas import Input
from webapp.schemas.headers import IfNoneMatch
from webapp.schemas.problems import Problem
from webapp.validation import Invalid

View = TypeVar("View", bound=Callable[..., Any])
Json = dict[str, Any]
SCHEME = "managementToken"

optional_bodies: set[str] = set()  # operations that may be called without one

_PROBLEMS = {
    400: "Not JSON, or a header or an address that makes no sense",
    401: "No management token, or not one of ours",
    403: "The token lacks the scope",
    404: "There is no such thing in this organisation",
    409: "The state of the thing does not allow this; `code` says what it is",
    412: "It was changed since the version in If-Match",
    413: "More than 1 MB",
    415: "Not JSON",
    422: "Fields that cannot be taken, each named in `errors`; nothing was written",
    503: "A part of the router does not answer; or the change is saved, but the proxies could not be told at once",
}
_EDITS = frozenset(("PUT", "PATCH", "DELETE"))
_NOBODYS = "\0"  # the name of no field
_ALWAYS = (401, 403, 422, 503)
_WITH_BODY = (400, 413, 415)
WITHOUT_BODY = {status: _PROBLEMS[status] for status in _WITH_BODY}
UNVERSIONED = {412: "If-Match names a version, and this has none"}


class StrictPlugin(FlaskPlugin):
    """Reads requests as strictly as this API promises; answers are made of models, so they are not read again."""

    def validate(
        self,
        func: Callable[..., Any],
        query: type[Input] | None,
        json: type[BaseModel] | None,
        form: type[BaseModel] | None,
        headers: type[BaseModel] | None,
        *more: Any,
        **kwargs: Any,
    ) -> Any:
        """Call a view with its query as a value of the model and its body as a document, which its action reads.

        An action reads it itself because what may be set can depend on what is stored. Raises Invalid, Problem.
        """
        del form, headers, more  # cookies, hooks: nothing of it is used here
        if is_unversioned(request.method, request.path):
            refuse_if_match()
        if query is not None:
            kwargs["query"] = read_query(query)
        if json is None:
            if request.method != "GET":
                refuse_content()
            return func(**kwargs)
        body = read_document(optional=getattr(json, "optional", False))
        kwargs["document"] = body.document
        return _all_faults(func, body, kwargs) if body.faults else func(**kwargs)

    def register_route(self, app: object) -> None:
        """Nothing: `openapi.py` serves the document, to those who may see it."""


def is_unversioned(method: str, path: str) -> bool:
    """Whether a call edits what has no ETag, so that no version fits it.

    Below a key a client may send the key's own; it says nothing of what stands there (hand-overs, alerts).
    """
    return method.upper() in _EDITS and not path.startswith("/v1/keys/")


def _all_faults(func: Callable[..., Any], body: Body, kwargs: dict[str, Any]) -> NoReturn:
    """Raises Invalid with what is wrong with the body, and with what its action says of it beside that.

    No action takes a field that it does not know, so with one that nobody knows it writes nothing.
    """
    body.document[_NOBODYS] = None
    try:
        func(**kwargs)
    except Invalid as error:
        raise Invalid(*body.faults, *(fault for fault in error.errors if fault.field != _NOBODYS)) from None
    raise Invalid(*body.faults)


class KeptSchemas(PydanticModelAdapter):
    """Makes the schema of a model once. The library asks for that of a problem with each answer of each operation."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[type[Any], str, str], Json] = {}

    def json_schema(self, model: type[Any], *, ref_template: str, mode: SchemaMode = "validation") -> Json:
        """The library's own to keep: it copies what it changes."""
        wanted = model, ref_template, mode
        if wanted not in self._kept:
            self._kept[wanted] = super().json_schema(model, ref_template=ref_template, mode=mode)
        return self._kept[wanted]


class Answers(Response):
    """What a view answers: a model on success, a problem otherwise."""

    def __init__(
        self,
        status: int,
        model: type[BaseModel],
        description: str,
        *,
        kinds: tuple[str, ...],
        etag: bool,
        conditional: bool,
    ) -> None:
        super().__init__(**{f"HTTP_{status}": (model, description)})
        self._kinds = kinds
        self._etag = etag
        self._conditional = conditional

    def generate_spec(self, naming_strategy: Callable[[Any], str] = lambda model: model.__name__) -> Json:
        """As OpenAPI has it, with the content types that are really sent."""
        told: Json = super().generate_spec(naming_strategy)
        for status, answer in told.items():
            schema = answer["content"]["application/json"]["schema"]
            if not status.startswith("2"):
                answer["content"] = {"application/problem+json": {"schema": schema}}
                continue
            for kind in self._kinds:
                answer["content"][kind] = {"schema": {"type": "string"}}
            if self._etag:
                answer["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "For If-Match."}}
        if self._conditional:
            told["304"] = {"description": "It is the same still as the ETag in If-None-Match says; there is no body"}
        return told


spec = SpecTree(
    backend=StrictPlugin,
    model_adapter=KeptSchemas(),  # type: ignore[arg-type] # as the library's own is, for any exception
    mode="strict",
    annotations=False,
    title="Enterprise Router management API",
    version="1",
    description="Proxy keys: create, read, edit, pause, rotate, revoke, and what they used. Money is decimal strings "
    "of US dollars, moments are RFC 3339 in UTC. An organisation sees only itself.",
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _parent, child: child,
    validation_error_model=Problem,
    security_schemes=[
        SecurityScheme(
            name=SCHEME,
            data=SecuritySchemeData(
                type=SecureType.HTTP,
                scheme="bearer",
                description=f"A management token (sk-mgmt-...) with the scope in question: {', '.join(SCOPES)}.",
            ),
        )
    ],
    security=[{SCHEME: []}],
)


def operation(
    operation_id: str,
    scope_name: str,
    model: type[BaseModel],
    description: str,
    *,
    status: int = 200,
    query: type[Input] | None = None,
    body: type[BaseModel] | None = None,
    headers: type[BaseModel] | None = None,
    path: Mapping[str, str] | None = None,
    problems: tuple[int, ...] = (),
    kinds: tuple[str, ...] = (),
    etag: bool = False,
) -> Callable[[View], View]:
    """Mark a view as an operation of the API, for tokens with this scope: what it takes, and answers with `model`.

    A view with a `query` is called with a value of it, one with a `body` with the `document` that was sent. The first
    paragraph of its docstring is the summary. `problems` are the statuses beside those that any operation may have.
    """
    if getattr(body, "optional", False):
        optional_bodies.add(operation_id)
    answers = Answers(status, model, description, kinds=kinds, etag=etag, conditional=headers is IfNoneMatch)
    for code in sorted({*_ALWAYS, *problems, *(_WITH_BODY if body else ())}):
        answers.add_model(code, Problem, description=_PROBLEMS.get(code, HTTPStatus(code).phrase))

    def mark(view: View) -> View:
        described = spec.validate(
            query=query,
            json=body,
            headers=headers,
            resp=answers,
            operation_id=operation_id,
            path_parameter_descriptions=path,
            security={SCHEME: [scope_name]},
        )(view)
        return scope(scope_name)(described)  # type: ignore[no-any-return] # SpecTree's decorators have no types

    return mark
