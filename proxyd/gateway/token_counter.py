"""The providers' own counters of input tokens: free, asked only before a refusal, and for two seconds at most."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import gevent
import orjson

from proxyd.bodies.parser import BodyParser, ParserBusy
from proxyd.credentials import Credential, CredentialHealth
from proxyd.gateway import translated
from proxyd.gateway.context import RequestContext
from proxyd.gateway.side_question import OtherAnswer, answer_to
from proxyd.gateway.verdict import REFUSED, is_about_the_credential
from proxyd.known_key import KnownKey
from proxyd.messages import Header, Origin, Outgoing, UpstreamError
from proxyd.providers import DIALECTS, BadBody, Pieces
from proxyd.upstream.pool import UpstreamPool
from shared.pricing import MAX_COUNT
from shared.provider_words import sentence_in

SECONDS = 2.0
KEPT_SECONDS = 60.0
KEPT_ANSWERS = 1_000
PIECE_BYTES = 256 * 1024  # between two looks at what else there is to do
AT_ONCE = 8  # questions of one worker; whoever comes then is judged by our own bound
MAX_ANSWER_BYTES = 64 * 1024


@dataclass(slots=True)
class TokenCounter:
    """Asks for one worker. No answer, whatever the reason, is an answer too: it is kept as long."""

    pool: UpstreamPool
    origins: Mapping[str, tuple[Origin, str]]  # provider slug -> where it listens, base path
    parser: BodyParser
    health: CredentialHealth
    now: Callable[[], float] = time.monotonic
    _kept: OrderedDict[bytes, tuple[float, int | None]] = field(default_factory=OrderedDict, repr=False)
    _running: int = 0

    def __call__(self, context: RequestContext, known: KnownKey) -> int | None:
        """Tokens of a request's input; None: nobody can tell, or not in time."""
        parsed, endpoint, target = context.parsed, context.target.endpoint, context.target
        credentials = known.credentials.get(target.provider.slug)
        if parsed is None or endpoint is None or credentials is None or context.model is None:
            return None
        if target.custom is not None:
            return None  # it may have no counter, or bill what is asked there
        if parsed.spans is not None:
            try:
                parsed.spans = self.parser.members(known.key.id, parsed.raw)
            except (BadBody, ParserBusy):
                return None
        question = DIALECTS[target.dialect].count_request(endpoint, parsed, target.path, context.model)
        if question is None:
            return None
        path, body = question
        digest = _digest(f"{known.key.org_id} {path} ".encode(), body)
        kept = self._kept.get(digest)
        if kept is not None and self.now() < kept[0]:
            return kept[1]
        if self._running >= AT_ONCE:
            return None
        self._running += 1
        try:
            counted = self._ask(context, path, body, credentials.first(context.model))
        finally:
            self._running -= 1
        if len(self._kept) >= KEPT_ANSWERS:
            self._kept.popitem(last=False)
        self._kept[digest] = (self.now() + KEPT_SECONDS, counted)
        return counted

    def _ask(self, context: RequestContext, path: str, body: Pieces, credential: Credential) -> int | None:
        provider = context.target.provider
        origin, base = self.origins[provider.slug]
        name, prefix = context.target.credential_header
        header: Header = (name, prefix + credential.secret.encode())
        if context.target.translation is None:
            lines = context.head.lines_for(provider, context.request)
        else:  # the caller's headers speak of another provider's API
            lines = translated.request_lines(context.request.headers, provider.extra_headers)
        length = sum(map(len, body))
        whole = b"".join(body) if length <= PIECE_BYTES else _sliced(body)
        question = Outgoing(origin, "POST", base + path, [header], whole, length, lines)
        try:
            return _count(answer_to(self.pool, question, SECONDS, MAX_ANSWER_BYTES))
        except OtherAnswer as error:
            # That it has to wait says nothing of requests that are no questions: those have limits of their own.
            if error.status == REFUSED and is_about_the_credential(context, error.body):
                self.health.refused(credential, REFUSED, sentence_in(error.body, credential.secret))
            return None
        except UpstreamError:
            return None


def _digest(place: bytes, body: Pieces) -> bytes:
    digest = hashlib.sha256(place)
    for piece in _sliced(body):
        digest.update(piece)
        if len(piece) == PIECE_BYTES:
            gevent.sleep(0)
    return digest.digest()


def _sliced(body: Pieces) -> Iterator[bytes]:
    for piece in body:
        for start in range(0, len(piece), PIECE_BYTES):
            yield bytes(piece[start : start + PIECE_BYTES])


def _count(answer: bytes) -> int | None:
    """The count in an answer: `input_tokens` of OpenAI and Anthropic, `totalTokens` of Gemini."""
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    counted = document.get("input_tokens", document.get("totalTokens"))
    return counted if type(counted) is int and 0 <= counted <= MAX_COUNT else None
