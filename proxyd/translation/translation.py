"""One way between two dialects: the request there, the answer back. What meters it is the provider's own dialect."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import orjson
from msgspec import Struct, structs

from proxyd.providers import DIALECTS, BadBody, Parsed
from proxyd.providers.body import more_values_than
from proxyd.translation import (
    chat_answer_reader,
    chat_answer_writer,
    chat_reader,
    chat_writer,
    exact_json,
    generate_answer_writer,
    generate_reader,
    messages_answer_reader,
    messages_answer_writer,
    messages_reader,
    messages_writer,
    responses_answer_writer,
    responses_reader,
)
from proxyd.translation.answer import Answer, Failed, Piece, Unreadable
from proxyd.translation.conversation import Conversation
from proxyd.translation.fields import refusal
from proxyd.translation.generate_schema import is_exact
from proxyd.translation.parameters import GENERATING, as_list, untold
from proxyd.wire.json_size import takes_long
from proxyd.wire.sse import Event, EventDecoder
from shared.catalog import Endpoint, Kind

MANY_VALUES = 50_000  # and names, of a whole answer: they are made anew one by one, which takes some 50 ms

_READERS: Mapping[Kind, Callable[[Mapping[str, Any]], Conversation]] = {
    Kind.MESSAGES: messages_reader.read,
    Kind.CHAT: chat_reader.read,
    Kind.RESPONSES: responses_reader.read,
    Kind.GENERATE: generate_reader.read,
    Kind.GENERATE_STREAM: generate_reader.read_streamed,
}
_ANSWERS: Mapping[Kind, Callable[[Mapping[str, Any]], Answer]] = {
    Kind.MESSAGES: messages_answer_reader.read,
    Kind.CHAT: chat_answer_reader.read,
}


class _Reader(Protocol):
    def read(self, event: Event) -> Iterator[Piece]: ...
    def end(self) -> Iterator[Piece]: ...


class _Writer(Protocol):
    def write(self, piece: Piece) -> bytes: ...


class Translation(Struct, frozen=True):
    """From callers of one kind of endpoint to `endpoint` of a provider."""

    caller: Kind
    provider: str
    endpoint: Endpoint
    # Of a provider that speaks OpenAI's dialect: what its server calls an output limit, and whether a stream is asked
    # for its usage.
    limit_name: str = "max_completion_tokens"
    asks_usage: bool = True

    @property
    def dialect(self) -> str:
        """In which the caller expects answers and errors."""
        if self.caller in GENERATING:
            return "gemini"
        return "anthropic" if self.caller is Kind.MESSAGES else "openai"

    def untold(self, query: str) -> str | None:
        """The name of a parameter of the caller's address that cannot be translated; None: there is none."""
        return untold(self.caller, query)

    def as_list(self, query: str) -> bool:
        """Whether the caller reads a stream as one JSON list, by its address."""
        return as_list(self.caller, query)

    def request(self, document: Mapping[str, Any], model: str) -> Parsed:
        """What is sent, understood by the provider's own dialect; `raw` is its body.

        Raises BadBody for what cannot be translated, and SlowBody.
        """
        try:
            conversation = replace(_READERS[self.caller](document), model=model)
            if self.caller in GENERATING:
                conversation = (
                    _with_wish(conversation) if self.endpoint.kind is Kind.CHAT else _with_level(conversation)
                )
            body, data = self._body(conversation)
        except BadBody as error:
            name = generate_reader.NAMES.get(error.param or "") if self.caller in GENERATING else None
            raise (
                error if name is None else BadBody(name + error.message.removeprefix(error.param or ""), name)
            ) from None
        parsed = DIALECTS[self.endpoint.dialect].read(self.endpoint, data, None, "")
        fixed = isinstance(body.get("thinking"), dict) and "budget_tokens" in body["thinking"]
        if conversation.max_tokens is None and not fixed:
            # A limit that stands there only because the dialect wants one is the router's to lower, as ever.
            parsed.size = structs.replace(parsed.size, output_limit=None, output_default=parsed.size.output_limit)
        return parsed

    def _body(self, conversation: Conversation) -> tuple[dict[str, Any], bytes]:
        """What is sent, and its JSON. Raises BadBody."""
        try:
            # Arguments of calls are written as texts on the way, and the writers nest them no less than this does.
            if self.endpoint.kind is Kind.MESSAGES:
                body = messages_writer.write(conversation)
            else:
                body = chat_writer.write(conversation, self.provider, self.limit_name, asks_usage=self.asks_usage)
            _refuse_begun(conversation)
            return body, orjson.dumps(body)
        except TypeError:
            raise BadBody("The body is nested too deeply to be translated.") from None

    def answer(self, body: bytes, created: int) -> bytes:
        """A whole answer in the caller's dialect. Raises Unreadable."""
        if len(body) > MANY_VALUES and more_values_than(MANY_VALUES, body):
            raise Unreadable("the answer has too many values")
        try:
            document = exact_json.loads(body)
        except orjson.JSONDecodeError:
            raise Unreadable("the answer is no JSON") from None
        if not isinstance(document, dict):
            raise Unreadable("the answer is no object")
        answer = _ANSWERS[self.endpoint.kind](document)
        try:
            return orjson.dumps(self._written(answer, created))
        except TypeError:
            raise Unreadable("the answer is nested too deeply") from None

    def _written(self, answer: Answer, created: int) -> dict[str, Any]:
        if self.caller is Kind.MESSAGES:
            return messages_answer_writer.write(answer)
        if self.caller is Kind.CHAT:
            return chat_answer_writer.write(answer, created)
        if self.caller in GENERATING:
            return generate_answer_writer.write(answer)
        return responses_answer_writer.write(answer, created)

    def error(self, status: int, body: bytes, request_id: str, facts: Mapping[str, int] | None = None) -> bytes:
        """An error of the provider in the caller's dialect, in the provider's own words; `facts` are of its headers."""
        try:
            document = None if takes_long(body) else orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        kind, message = chat_answer_reader.error_in(document)
        return DIALECTS[self.dialect].refusal(status, kind, message, request_id, facts or {})

    def answering(self, created: int, request_id: str, query: str = "", *, shows_usage: bool) -> "Answering":
        """For one answer that comes in events. `created` are Unix seconds, `query` is the caller's."""
        reader: _Reader = (
            messages_answer_reader.MessageStream()
            if self.endpoint.kind is Kind.MESSAGES
            else chat_answer_reader.ChatStream()
        )
        writer: _Writer
        if self.caller is Kind.MESSAGES:
            writer = messages_answer_writer.MessageEvents()
        elif self.caller is Kind.CHAT:
            writer = chat_answer_writer.ChatEvents(created, shows_usage=shows_usage)
        elif self.caller in GENERATING:
            writer = generate_answer_writer.GenerateEvents()
        else:
            writer = responses_answer_writer.ResponseEvents(created)
        listed = generate_answer_writer.JsonList() if self.as_list(query) else None
        return Answering(self, reader, writer, request_id, listed)


def _with_wish(conversation: Conversation) -> Conversation:
    """Gemini's schemas leave properties out of what is required, which OpenAI's API takes as a wish only."""
    schema = conversation.schema
    if schema is None or is_exact(schema.schema):
        return conversation
    return replace(conversation, schema=replace(schema, strict=False))


def _with_level(conversation: Conversation) -> Conversation:
    """Gemini's callers say any number of tokens of any model. Of Anthropic's, later ones refuse to be told them."""
    reasoning = conversation.reasoning
    if reasoning is None or reasoning.budget_tokens is None:
        return conversation
    by_budget = messages_writer.thinks_by_budget(conversation.model)
    budget = messages_writer.fitting_budget(conversation, reasoning.budget_tokens) if by_budget else None
    return replace(conversation, reasoning=replace(reasoning, budget_tokens=budget))


def _refuse_begun(conversation: Conversation) -> None:
    """An assistant's last word is gone on with by some models, and answered by others."""
    last = conversation.turns[-1] if conversation.turns else None
    if last is not None and last.role == "assistant":
        place = last.parts[-1].place if last.parts else "messages"
        raise refusal(place, "is an answer that is begun, which a model of another provider does not go on with")


class Answering:
    """One answer on its way, event by event."""

    __slots__ = ("_decoder", "_listed", "_reader", "_request_id", "_translation", "_writer", "broken", "failed")

    def __init__(
        self,
        translation: Translation,
        reader: _Reader,
        writer: _Writer,
        request_id: str,
        listed: generate_answer_writer.JsonList | None = None,
    ) -> None:
        self._translation = translation
        self._reader = reader
        self._writer = writer
        self._request_id = request_id
        self._listed = listed  # the client reads one JSON list
        self._decoder = EventDecoder()
        self.failed = False  # the client was told of an error, and is told of nothing else
        self.broken = False  # that error is of an answer that could not be read

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the answer; what the client is told of them."""
        told = b"".join([self._told(self._reader.read(event)) for event in self._decoder.feed_in_turns(data)])
        return told if self._listed is None else self._listed.feed(told)

    def end(self) -> bytes:
        """The body is over."""
        rest = self._decoder.rest()
        last = b"" if rest is None else self._told(self._reader.read(rest))
        last += self._told(self._reader.end())
        return last if self._listed is None else self._listed.feed(last) + self._listed.end()

    def error(self, failed: Failed) -> bytes:
        """The body broke off; what the client is told of it, unless it was told of an error before."""
        told = b"" if self.failed else self._error(failed)
        return told if self._listed is None else self._listed.feed(told) + self._listed.end()

    def _told(self, pieces: Iterator[Piece]) -> bytes:
        told: list[bytes] = []
        try:
            for piece in () if self.failed else pieces:
                # One by one: what was told before the answer turned out to be unreadable is told.
                told.append(self._error(piece) if isinstance(piece, Failed) else self._writer.write(piece))  # noqa: PERF401
        except Unreadable as error:
            self.broken = True
            detail = f"The provider's answer cannot be translated: {error}."
            told.append(self._error(Failed(502, "provider_unreachable", detail)))
        return b"".join(told)

    def _error(self, failed: Failed) -> bytes:
        self.failed = True
        dialect = DIALECTS[self._translation.dialect]
        return dialect.error_event(
            failed.status, failed.kind, failed.message, self._request_id, self._translation.caller
        )
