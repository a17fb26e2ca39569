"""From a request to an answer and an entry on the invoice. No sockets here."""

import hashlib
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from proxyd.sandbox import (
    anthropic,
    behaviour,
    gemini,
    jobs_anthropic,
    jobs_gemini,
    jobs_openai,
    models,
    openai,
    openai_media,
    predictions,
    reading,
)
from proxyd.sandbox.completions import COMPLETIONS
from proxyd.sandbox.credentials import FailingCredentials
from proxyd.sandbox.interactions import INTERACTIONS
from proxyd.sandbox.invoice import KEY_ENDING_CHARACTERS, KEY_PREFIX_CHARACTERS, MARKER_CHARACTERS, Attempt, Invoice
from proxyd.sandbox.jobs import Jobs, answered
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.responses import COMPACT, RESPONSES
from proxyd.sandbox.routes import Name, Place, check, credential_of, locate
from proxyd.sandbox.values import Answer, Bill, Document, Event, Operation, SandboxRequest
from proxyd.sandbox.work import prepared, spoken

BEHAVIOUR_HEADER = "x-sandbox"
_CREDENTIAL_HEADERS = frozenset(("authorization", "x-api-key", "x-goog-api-key"))
_OUR_SECRETS = ("sk-proxy-", "sk-mgmt-")

_IN_WORDS: dict[Name, Operation] = {
    "chat": openai.CHAT,
    "completions": COMPLETIONS,
    "compact": COMPACT,
    "responses": RESPONSES,
    "interact": INTERACTIONS,
    "messages": anthropic.MESSAGES,
    "generate": gemini.GENERATE,
    "stream": gemini.GENERATE,
}


@dataclass(slots=True)
class SandboxService:
    """Answers requests and keeps the invoice."""

    clock: Callable[[], float] = time.time
    invoice: Invoice = field(default_factory=Invoice)
    jobs: Jobs = field(init=False)
    credentials: FailingCredentials = field(default_factory=FailingCredentials)
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self._line)

    def answer(self, ask: SandboxRequest) -> tuple[Answer, Attempt | None]:
        """The answer, and the attempt it belongs to (None for the invoice itself)."""
        if ask.path in ("/invoice", "/healthz"):
            return self._own_page(ask), None
        try:
            kind = ask.headers.get("content-type", "")
            if kind.lower().startswith("multipart/form-data"):
                document = reading.parse_form(kind, ask.body)
            else:
                document = reading.parse(ask.body) if ask.body and not _is_file(ask) else {}
            problem = None
        except Refusal as refusal:
            document, problem = {}, refusal
        place = locate(ask, document.get("model"))
        auth_kind, credential = credential_of(ask, place)
        attempt = self._attempt(ask, place, auth_kind, credential)
        self.invoice.add(attempt)
        try:
            check(ask, place, credential)
            if self.credentials.hangs_up(credential):
                return Answer(200, behaviour=behaviour.Behaviour(cut="early")), attempt
            if problem is not None:
                raise problem
            answer = self._served(ask, place, document, attempt)
        except Refusal as refusal:
            answer = _refused(place, refusal, attempt.id)
        attempt.status = answer.status
        answer.headers[_REQUEST_ID[place.dialect]] = f"req_{attempt.id}"
        return answer, attempt

    def new_attempt(self, ask: SandboxRequest, place: Place) -> Attempt:
        """A turn of a WebSocket, on the invoice."""
        attempt = self._attempt(ask, place, *credential_of(ask, place))
        self.invoice.add(attempt)
        return attempt

    def _attempt(self, ask: SandboxRequest, place: Place, auth_kind: str, credential: str) -> Attempt:
        values = "\n".join((ask.path, ask.query, *ask.headers.values()))
        return Attempt(
            id=f"{os.getpid():x}{next(self._ids):012x}",
            at=self.clock(),
            provider=place.provider,
            method=ask.method,
            path=ask.path,
            header_names=tuple(name for name in ask.headers if name not in _CREDENTIAL_HEADERS),
            auth_kind=auth_kind,
            key_prefix=credential[:KEY_PREFIX_CHARACTERS],
            key_ending=credential[-KEY_ENDING_CHARACTERS:] if len(credential) > 2 * KEY_PREFIX_CHARACTERS else "",
            body_bytes=len(ask.body),
            body_sha256=hashlib.sha256(ask.body).hexdigest(),
            saw_router_secret=any(mark in values or mark.encode() in ask.body for mark in _OUR_SECRETS),
        )

    def _own_page(self, ask: SandboxRequest) -> Answer:
        if ask.path == "/healthz":
            return Answer(200, b'{"status":"ok"}')
        if ask.method == "DELETE":
            self.invoice.clear()
        return Answer(200, orjson.dumps(self.invoice.as_json()))

    def _served(self, ask: SandboxRequest, place: Place, document: Document, attempt: Attempt) -> Answer:
        operation = _IN_WORDS.get(place.name) if place.name is not None else None
        if operation is not None:
            return self._in_words(operation, ask, place, document, attempt)
        if place.name in openai_media.MADE:
            return _made(ask, place, document, attempt)
        if place.name in {"embeddings", "embed"}:
            return _embedded(ask, place, document, attempt)
        if place.name == "count":
            return _counted(place, document)
        if place.name in ("predict", "film"):
            told = predictions.made(place.model or "", document, attempt, film=place.name == "film")
            return Answer(200, orjson.dumps(told))
        if place.name in _LATER:
            return self._later(ask, place, document, attempt)
        return _listed(place)

    def _line(self, attempt: Attempt, path: str) -> Attempt:
        """An attempt of its own for a line of a batch that another one sent."""
        line = replace(attempt, id=f"{attempt.id}-{next(self._ids)}", path=path, method="BATCH")
        self.invoice.add(line)
        return line

    def _later(self, ask: SandboxRequest, place: Place, document: Document, attempt: Attempt) -> Answer:
        """Files, batches, and responses that were made in the background."""
        jobs = self.jobs
        if place.name == "response":
            return answered(jobs, place.of, ask.query)
        if place.name in ("file", "results"):
            return Answer(200, jobs.stored(place.of), content_type="application/binary")
        if place.name == "upload" and place.provider == "gemini":
            return jobs_gemini.upload(jobs, ask, attempt)
        if place.name == "upload":
            told = jobs_openai.upload(jobs, ask, attempt)
        elif place.name == "batch_of":
            told = jobs.batch(place.of)
        elif place.name == "batches":
            told = _BATCHES[place.provider](jobs)
        elif place.provider == "openai":
            told = jobs_openai.create(jobs, document, attempt)
        elif place.provider == "anthropic":
            told = jobs_anthropic.create(jobs, document, attempt, ask.headers.get("host", ""))
        else:
            told = jobs_gemini.create(jobs, document, attempt, place.model or "", place.method)
        return Answer(200, orjson.dumps(told))

    def _in_words(
        self, operation: Operation, ask: SandboxRequest, place: Place, document: Document, attempt: Attempt
    ) -> Answer:
        heard = operation.hear(document, place.model, ask.query)
        stream = heard.stream or place.name == "stream"
        header = ask.headers.get(BEHAVIOUR_HEADER)
        telling, bill, how = spoken(place.provider, heard, attempt, stream=stream, header=header)
        background = operation.queued is not None and document.get("background") is True
        if background:
            self.jobs.answers[f"{operation.prefix}{attempt.id}"] = operation, telling
        if background and not stream and operation.queued is not None:
            return Answer(200, orjson.dumps(operation.queued(telling)), behaviour=how, bill=bill, goes_on=True)
        if not stream:
            return Answer(200, orjson.dumps(operation.whole(telling)), behaviour=how, bill=bill)
        return Answer(
            200,
            events=operation.events(telling),
            pieces=len(telling.speech.pieces) * telling.speech.choices,
            content_type="application/json" if heard.array and place.name == "stream" else operation.stream_type,
            behaviour=how,
            bill=bill,
            error_event=operation.error_event,
            owns_up=operation.owns_up,
            goes_on=background,
        )


_LATER = frozenset(("upload", "file", "batch", "batches", "batch_of", "results", "response"))
_BATCHES = {"openai": jobs_openai.listed, "anthropic": jobs_anthropic.listed, "gemini": jobs_gemini.listed}
_REQUEST_ID = {"openai": "x-request-id", "anthropic": "request-id", "gemini": "x-gemini-request-id"}


def _is_file(ask: SandboxRequest) -> bool:
    """Whether the body is neither JSON nor a form."""
    return ask.path.startswith("/upload/") or ask.headers.get("content-type", "").startswith("multipart/")


def _refused(place: Place, refusal: Refusal, attempt_id: str) -> Answer:
    envelope: dict[str, Callable[[], Document]] = {
        "openai": lambda: openai.error(refusal),
        "anthropic": lambda: anthropic.error(refusal, f"req_{attempt_id}"),
        "gemini": lambda: gemini.error(refusal),
    }
    answer = Answer(refusal.status, orjson.dumps(envelope[place.dialect]()))
    if refusal.status in (429, 503):
        answer.headers["retry-after"] = "1"
    return answer


def _made(ask: SandboxRequest, place: Place, document: Document, attempt: Attempt) -> Answer:
    """Sound, a transcription or pictures."""
    words = openai_media.marker(document)
    attempt.marker = words[:MARKER_CHARACTERS]
    asked_model = reading.string(document, "model")
    header = ask.headers.get(BEHAVIOUR_HEADER)
    wanted = behaviour.of_prompt(words)[1]
    model, how = prepared(place.provider, asked_model, wanted, attempt, header, media=place.name)
    made = openai_media.MADE[place.name or ""](model, document, usage=not how.no_usage)
    bill = Bill(model, made.input_tokens, made.output_tokens, made.nanos)
    if not made.events:
        return Answer(200, made.body, content_type=made.content_type, behaviour=how, bill=bill)
    attempt.stream = True
    lines = [b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), orjson.dumps(event)) for event in made.events]
    events = (Event(line, made.output_tokens, paced=True) for line in lines)
    return Answer(
        200, events=events, pieces=len(lines), content_type="text/event-stream; charset=utf-8", behaviour=how, bill=bill
    )


def _embedded(ask: SandboxRequest, place: Place, document: Document, attempt: Attempt) -> Answer:
    batch = place.method == "batchEmbedContents"
    if place.dialect == "openai":
        asked_model = reading.string(document, "model")
        inputs = openai.embedding_inputs(document)
        first, input_tokens = str(inputs[0]), openai.input_tokens(inputs)
    else:
        asked_model = place.model or ""
        requests = gemini.embedding_requests(document, batch=batch)
        content: Any = requests[0].get("content")
        first = reading.text_of(content.get("parts")) if isinstance(content, dict) else ""
        input_tokens = gemini.embedding_tokens(requests)
    attempt.marker = first[:MARKER_CHARACTERS]
    model, how = prepared(
        place.provider, asked_model, behaviour.of_prompt(first)[1], attempt, ask.headers.get(BEHAVIOUR_HEADER)
    )
    if place.dialect == "openai":
        told = openai.embeddings(document, model, usage=not how.no_usage)
    else:
        told = gemini.embeddings(requests, batch=batch, usage=not how.no_usage)
    return Answer(200, orjson.dumps(told), behaviour=how, bill=Bill(model, input_tokens, 0))


def _counted(place: Place, document: Document) -> Answer:
    if place.dialect == "anthropic":
        reading.string(document, "model")
        return Answer(200, orjson.dumps({"input_tokens": anthropic.input_tokens(document)}))
    total = gemini.input_tokens(document)
    details = [{"modality": "TEXT", "tokenCount": total}]
    return Answer(200, orjson.dumps({"totalTokens": total, "promptTokensDetails": details}))


def _listed(place: Place) -> Answer:
    names = models.names(place.provider)
    if place.model is not None:
        if not models.exists(place.provider, place.model):
            raise Refusal(404, f"The model `{place.model[:100]}` does not exist.", param="model")
        names = (place.model,)
    cards: list[Document]
    if place.dialect == "openai":
        cards = [openai.model_card(name, place.provider) for name in names]
        listed: Document = {"object": "list", "data": cards}
    elif place.dialect == "anthropic":
        cards = [anthropic.model_card(name) for name in names]
        listed = anthropic.model_list(names)
    else:
        cards = [gemini.model_card(name) for name in names]
        listed = {"models": cards}
    return Answer(200, orjson.dumps(cards[0] if place.model is not None else listed))
