"""From the bytes of a request's body to what they ask for: small bodies at once, large ones in turn.

A large body is judged by what needs none of it (rate, exhausted limits) before it is read, waits until there is room
for it in memory, and is parsed away from the event loop. That holds for all that is kept of a body, metered or not.
"""

from msgspec import Struct

from proxyd.bodies.memory import BodyMemory
from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.gateway import payload
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Target
from proxyd.gateway.payload import MAX_FORM_BYTES, MAX_JSON_BYTES, PEEK_BYTES, Payload
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.known_key import KnownKey
from proxyd.providers import DIALECTS, BadBody, Parsed, SlowBody, model_field, read_form
from proxyd.providers.body import more_values_than
from proxyd.translation import Translation, exact
from proxyd.wire.json_size import MANY_ITEMS, brackets
from shared.catalog import Endpoint, Kind
from shared.policy import Reason
from shared.routing import Unified

JUDGED_BYTES = 256 * 1024  # larger bodies are judged before they are read, and their sum is bounded
PARSED_HERE_BYTES = 1024 * 1024  # larger bodies are parsed away from the event loop
# Those of more values and names too: what a dialect does with so many objects takes some 20 ms. As long take
# MANY_ITEMS that are not objects, which lists of tokens are.
PARSED_HERE_VALUES = 50_000
QUICK_BYTES = 128 * 1024  # smaller bodies are parsed at once, without a look at how many they have
# Larger ones, and those of more objects, are translated there: up to here it takes some milliseconds.
TRANSLATED_HERE_BYTES, TRANSLATED_HERE_OBJECTS = 256 * 1024, 1_000
ROOM_SECONDS = 60.0  # how long a body waits for room
# Of a body whose length is not told: room for the next of these sizes is taken when it has grown to the one before.
_SIZES = (JUDGED_BYTES, 1024 * 1024, 4 * 1024 * 1024, MAX_JSON_BYTES)


class _NoRoom(Exception):
    """The body cannot be kept."""

    def __init__(self, refusal: Rejection) -> None:
        super().__init__()
        self.refusal = refusal


class BodyReader:
    """Reads the bodies of one worker's requests."""

    def __init__(self, admission: AdmissionController, memory: BodyMemory, parser: BodyParser) -> None:
        self._admission = admission
        self._memory = memory
        self._parser = parser

    def read(
        self, context: RequestContext, known: KnownKey, endpoint: Endpoint, route: Target | Unified
    ) -> Parsed | Rejection:
        """What a body asks for, of the endpoint of its route. Raises RequestError and ClientGone while it is read."""
        request, path_model = context.request, route.path_model
        query, length = request.query, request.body.length
        try:
            if endpoint.form and (kind := payload.form_type(request)) is not None:
                parts, body = payload.read_form(request, kind, _Keeper(self, context, known, route))
                return read_form(endpoint, parts, body)
            if length is not None and length <= JUDGED_BYTES:  # as nearly all are
                body = request.body.read(JUDGED_BYTES)
            else:
                body = _Keeper(self, context, known, route).whole()
            if len(body) <= QUICK_BYTES or is_parsed_here(body):
                try:
                    return DIALECTS[endpoint.dialect].read(endpoint, body, path_model, query)
                except SlowBody:
                    pass
            return self._parser.parse(known.key.id, (endpoint, path_model, query), body)
        except (BadBody, ParserBusy, _NoRoom) as error:
            return _refusal(error)

    def read_unmetered(self, context: RequestContext, known: KnownKey, target: Target) -> Payload | Rejection:
        """What goes on as it comes, and the model that it names. Raises RequestError and ClientGone."""
        free = target.endpoint is not None and target.endpoint.kind is Kind.FREE
        restricted = bool(known.key.allowed_models) or (bool(known.key.model_limits) and not free)
        form_bytes = MAX_FORM_BYTES if restricted else 0 if free else PEEK_BYTES
        keeper = _Keeper(self, context, known, None)
        try:
            return payload.read(context.request, target.path, keeper, form_bytes=form_bytes)
        except (BadBody, ParserBusy, _NoRoom) as error:
            return _refusal(error)

    def translate(
        self, context: RequestContext, known: KnownKey, translation: Translation, parsed: Parsed, model: str
    ) -> Rejection | None:
        """Put what is sent to a provider of another dialect in the place of a body that was read."""
        if (name := translation.untold(context.request.query)) is not None:
            detail = f"the parameter {name} cannot be said to a model of another provider."
            return rejected(Reason.INVALID_REQUEST, detail=detail, param=name)
        try:
            context.parsed = self._translated(known, translation, parsed, model)
        except (BadBody, ParserBusy) as error:
            return _refusal(error)
        context.shows_usage = parsed.wants_usage
        return None

    def _translated(self, known: KnownKey, translation: Translation, parsed: Parsed, model: str) -> Parsed:
        body = parsed.raw
        if len(body) <= TRANSLATED_HERE_BYTES and parsed.spans is None and body.count(b"{") <= TRANSLATED_HERE_OBJECTS:
            try:
                return translation.request(exact(parsed.document, body), model)
            except SlowBody:
                pass
        return self._parser.translate(known.key.id, (translation, model), body)

    def model_in(self, known: KnownKey, data: bytes) -> str | None:
        """The one model that a JSON object names. Raises BadBody and ParserBusy."""
        if len(data) <= QUICK_BYTES or is_parsed_here(data):
            try:
                return model_field.in_json(data)
            except SlowBody:
                pass
        return self._parser.model_named(known.key.id, data)

    def make_room(self, context: RequestContext, known: KnownKey, size: int, route: Target | Unified | None) -> None:
        """Judge a body that turns out to be large, and wait until so much of it may be held. Raises _NoRoom."""
        claim = context.claim
        if claim is None:
            refused = self._admission.refuse_early(known, context, route)
            if refused is not None:
                raise _NoRoom(refused)
            claim = context.claim = self._memory.claim(known.key.id)
        if not claim.grow(size, ROOM_SECONDS):
            raise _NoRoom(rejected(Reason.ROUTER_BUSY, detail="too many large bodies are on their way"))


def is_parsed_here(body: bytes) -> bool:
    """Whether a body is parsed in the event loop: it is neither large nor of many values."""
    return len(body) <= PARSED_HERE_BYTES and (_is_flat(body) or not more_values_than(PARSED_HERE_VALUES, body))


def _is_flat(body: bytes) -> bool:
    return body.count(b":") + brackets(body) <= PARSED_HERE_VALUES and body.count(b",") <= MANY_ITEMS


class _Keeper(Struct):
    """Implements `payload.Keeper` for one request."""

    reader: BodyReader
    context: RequestContext
    known: KnownKey
    route: Target | Unified | None  # None: it is not metered
    room: int = JUDGED_BYTES

    def whole(self) -> bytes:
        body = self.context.request.body
        length = body.length
        if length is not None:
            if JUDGED_BYTES < length <= MAX_JSON_BYTES:
                self.reader.make_room(self.context, self.known, length, self.route)
            return body.read(MAX_JSON_BYTES)  # raises what says so of one that is too large
        pieces: list[bytes] = []
        size = 0
        for piece in body.chunks(MAX_JSON_BYTES):
            size += len(piece)
            self.make_room(size)
            pieces.append(piece)
        return b"".join(pieces)

    def make_room(self, size: int) -> None:
        if size > self.room:
            self.room = next((step for step in _SIZES if step >= size), MAX_JSON_BYTES)
            self.reader.make_room(self.context, self.known, self.room, self.route)

    def model_in(self, data: bytes) -> str | None:
        return self.reader.model_in(self.known, data)


def _refusal(error: BadBody | ParserBusy | _NoRoom) -> Rejection:
    if isinstance(error, _NoRoom):
        return error.refusal
    if isinstance(error, ParserBusy):
        return rejected(Reason.ROUTER_BUSY, detail=str(error))
    return rejected(Reason.INVALID_REQUEST, detail=error.message, param=error.param)
