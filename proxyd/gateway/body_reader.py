"""From the bytes of a request's body to what they ask for: small bodies at once, large ones in turn.

A large body is judged by what needs none of it (rate, exhausted limits) before it is read, waits until there is room
for it in memory, and is parsed away from the event loop.
"""

from proxyd.bodies.memory import BodyMemory
from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.context import RequestContext
from proxyd.gateway.rejection import MAX_JSON_BYTES, Rejection, rejected
from proxyd.key_cache import KnownKey
from proxyd.providers import DIALECTS, BadBody, Parsed, SlowBody
from shared.catalog import Endpoint, Kind
from shared.policy import Reason

JUDGED_BYTES = 256 * 1024  # larger bodies are judged before they are read, and their sum is bounded
PARSED_HERE_BYTES = 1024 * 1024  # larger bodies are parsed away from the event loop
ROOM_SECONDS = 60.0  # how long a body waits for room
# Of a body whose length is not told: room for the next of these sizes is taken when it has grown to the one before.
_SIZES = (JUDGED_BYTES, 1024 * 1024, 4 * 1024 * 1024, MAX_JSON_BYTES)


class BodyReader:
    """Reads the bodies of one worker's requests."""

    def __init__(self, admission: AdmissionController, memory: BodyMemory, parser: BodyParser) -> None:
        self._admission = admission
        self._memory = memory
        self._parser = parser

    def read(
        self, context: RequestContext, known: KnownKey, endpoint: Endpoint, path_model: str | None
    ) -> Parsed | Rejection:
        """What a body asks for. Raises RequestError and ClientGone while it is read."""
        request = context.request
        length = request.body.length
        if length is not None and length <= JUDGED_BYTES:
            body = request.body.read(MAX_JSON_BYTES)
        else:
            received = self._receive(context, known, length, free=endpoint.kind is Kind.FREE)
            if isinstance(received, Rejection):
                return received
            body = received
        try:
            if len(body) <= PARSED_HERE_BYTES:
                try:
                    return DIALECTS[endpoint.dialect].read(endpoint, body, path_model, request.query)
                except SlowBody:
                    pass
            return self._parser.parse(known.key.id, (endpoint, path_model, request.query), body)
        except BadBody as error:
            return rejected(Reason.INVALID_REQUEST, detail=error.message, param=error.param)
        except ParserBusy as error:
            return rejected(Reason.ROUTER_BUSY, detail=str(error))

    def _receive(
        self, context: RequestContext, known: KnownKey, length: int | None, *, free: bool
    ) -> bytes | Rejection:
        """A body that is large, or whose length is not told."""
        body = context.request.body
        if length is not None:
            if length > MAX_JSON_BYTES:
                return body.read(MAX_JSON_BYTES)  # raises what says so
            refused = self._make_room(context, known, length, free=free)
            return refused or body.read(MAX_JSON_BYTES)
        pieces: list[bytes] = []
        size = 0
        room = JUDGED_BYTES
        for piece in body.chunks(MAX_JSON_BYTES):
            size += len(piece)
            if size > room:
                room = next(step for step in _SIZES if step >= size)
                if (refused := self._make_room(context, known, room, free=free)) is not None:
                    return refused
            pieces.append(piece)
        return b"".join(pieces)

    def _make_room(self, context: RequestContext, known: KnownKey, size: int, *, free: bool) -> Rejection | None:
        """Judge a body that turns out to be large, and wait until so much of it may be held."""
        claim = context.claim
        if claim is None:
            refused = self._admission.refuse_early(known, context, free=free)
            if refused is not None:
                return refused
            claim = context.claim = self._memory.claim(known.key.id)
        if claim.grow(size, ROOM_SECONDS):
            return None
        return rejected(Reason.ROUTER_BUSY, detail="too many large bodies are on their way")
