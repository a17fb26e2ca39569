"""Bodies that are not metered: they go on as they come, and only the model is looked for in them.

The model is found before anything is sent. What could change it afterwards, a second field of a form, breaks the
request off before it is complete, so that the provider never acts on it. Forms that are metered are read whole.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from proxyd.messages import BadRequest, Request
from proxyd.providers import BadBody, model_field
from proxyd.wire.form import FormReader, Part
from proxyd.wire.multipart import FieldReader, FormError, boundary_of

MAX_UPLOAD_BYTES = 512 * 1024 * 1024
MAX_JSON_BYTES = 32 * 1024 * 1024  # Anthropic's limit, the largest of the three
MAX_FORM_BYTES = 32 * 1024 * 1024  # of a form that are kept while its model is looked for, where it decides
PEEK_BYTES = 64 * 1024  # where it is only written down

# From parameters of such names Google's servers take headers and the body of a request, on every path: with a header
# that overrides the method, a read could become a call that costs.
_STEERING = frozenset({"httpheaders", "httpmethod", "req", "ct"})


class Payload(NamedTuple):
    """A body ready to be sent; `length` of an iterator's, when it is known."""

    model: str | None
    body: bytes | Iterator[bytes]
    length: int | None


NO_PAYLOAD = Payload(None, b"", 0)


class Keeper(Protocol):
    """How bodies are kept in memory. Whatever it raises is passed on."""

    def whole(self) -> bytes:
        """The whole body, of a size that is read at all."""

    def make_room(self, size: int) -> None:
        """So many bytes of the body are about to be kept."""

    def model_in(self, data: bytes) -> str | None:
        """The one model that a JSON object names. Raises BadBody."""


def steering_parameter(query: str) -> str | None:
    """A parameter by which Google would take a request for another one than was judged."""
    for piece in query.split("&") if query else ():
        name = unquote(piece.partition("=")[0])
        if name.lower().lstrip("$.") in _STEERING:
            return name
    return None


def read(request: Request, path: str, keeper: Keeper, *, form_bytes: int) -> Payload:
    """What goes on to the provider at `path`. Raises BadBody and what reading a body raises.

    At most `form_bytes` of a form are kept while its model is looked for; with 0 it is not looked for, as a form may be
    a file of any size.
    """
    body = request.body
    if body.length == 0:
        return NO_PAYLOAD
    kind = _type_of(request)
    form = form_type(request) is not None
    # The second step of an upload holds nothing but the file, whatever its type says.
    if path.startswith("/upload/") or (form and not form_bytes):
        return _as_it_comes(request)
    if form:
        boundary = boundary_of(kind)
        return _as_it_comes(request) if boundary is None else _form(request, boundary, keeper, form_bytes)
    declared = kind.lower().partition(";")[0].strip()
    if declared == "application/json" or declared.endswith("+json"):
        data = keeper.whole()
        return Payload(keeper.model_in(data) if data.strip() else None, data, len(data))
    return _perhaps_json(request, keeper)


def form_type(request: Request) -> str | None:
    """The Content-Type of a body that is a form; None: it is none."""
    kind = _type_of(request)
    return kind if kind.lower().startswith("multipart/") else None


def _type_of(request: Request) -> str:
    return (request.header(b"content-type") or b"").decode("latin-1").strip()


def read_form(request: Request, kind: str, keeper: Keeper) -> tuple[list[Part], bytes]:
    """The parts of a form that is metered, and the whole of it. Raises BadBody and what reading a body raises.

    It is kept, as any body that is metered is: fields that decide about its cost may stand behind its file.
    """
    boundary = boundary_of(kind)
    if boundary is None:
        raise BadBody("The boundary of the form cannot be read from its Content-Type.")
    reader = FormReader(boundary)
    pieces: list[bytes] = []
    size = 0
    if request.body.length is not None and request.body.length <= MAX_FORM_BYTES:
        keeper.make_room(request.body.length)
    try:
        for data in request.body.chunks(MAX_FORM_BYTES):
            size += len(data)
            keeper.make_room(size)
            pieces.append(data)
            reader.feed(data)
        reader.end()
    except FormError as error:
        raise BadBody(f"The form cannot be read without doubt: {error}.") from None
    return reader.parts, b"".join(pieces)


def _as_it_comes(request: Request) -> Payload:
    return Payload(None, request.body.chunks(MAX_UPLOAD_BYTES), request.body.length)


def _perhaps_json(request: Request, keeper: Keeper) -> Payload:
    """A body of another type, or of none; providers may read it as JSON all the same."""
    length = request.body.length
    if length is None or length > MAX_JSON_BYTES:
        return _as_it_comes(request)
    data = keeper.whole()
    try:
        return Payload(keeper.model_in(data), data, length)
    except BadBody:
        return Payload(None, data, length)


def _form(request: Request, boundary: bytes, keeper: Keeper, form_bytes: int) -> Payload:
    """A form, read until its model is known."""
    reader = FieldReader(boundary, b"model")
    chunks = request.body.chunks(MAX_UPLOAD_BYTES)
    pieces: list[bytes] = []
    size = 0
    try:
        for data in chunks:
            size += len(data)
            keeper.make_room(size)
            pieces.append(data)
            reader.feed(data)
            if reader.values or size > form_bytes:
                break
        else:
            reader.end()
            data = b"".join(pieces)
            return Payload(model_field.in_form(reader.values), data, len(data))
    except FormError:
        return Payload(None, _joined(pieces, chunks, None), request.body.length)
    model = model_field.in_form(reader.values)
    return Payload(model, _joined(pieces, chunks, reader if model else None), request.body.length)


def _joined(pieces: list[bytes], chunks: Iterator[bytes], reader: FieldReader | None) -> Iterator[bytes]:
    """What was kept and what still comes. With a reader, nothing of it may name the field again."""
    yield b"".join(pieces)
    pieces.clear()
    for data in chunks:
        if reader is not None:
            _check(reader, data)
        yield data
    if reader is not None and not reader.ended:
        raise BadRequest("The form is not complete")


def _check(reader: FieldReader, data: bytes) -> None:
    try:
        reader.feed(data)
    except FormError as error:
        raise BadRequest(f"The form cannot be read without doubt: {error}") from None
    if len(reader.values) > 1:
        raise BadRequest("The field model stands twice in the form")
