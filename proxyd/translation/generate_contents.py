"""What was said in a generateContent request: from `contents` to the turns of a conversation.

Sources: the API reference of ai.google.dev and the types of the google-genai SDK 3.
"""

import base64
from collections.abc import Iterable, Iterator

import orjson

from proxyd.providers import BadBody
from proxyd.translation.chat_reader import PDF
from proxyd.translation.conversation import (
    File,
    Image,
    Part,
    RedactedThinking,
    Said,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    turns_of,
)
from proxyd.translation.fields import refusal
from proxyd.translation.proto_fields import ProtoFields

# What stands in `thoughtSignature` of ours, which is base64: what a provider wants back, and of which kind it is.
SIGNED, REDACTED = "signed:", "redacted:"
_STANDARD = str.maketrans("-_", "+/")  # Google's SDKs write the alphabet for addresses, RFC 4648, section 5


def turns_in(body: ProtoFields) -> tuple[Turn, ...]:
    """The turns of a body. Raises BadBody."""
    contents = body.items("contents")
    calls = _Calls(frozenset(_ids(ProtoFields({"contents": contents}))))
    turns = turns_of(_said(content, calls) for content in ProtoFields({"contents": contents}).each("contents"))
    return tuple(Turn(turn.role, tuple(_joined(turn.parts))) for turn in turns)


def _ids(body: ProtoFields) -> Iterator[str]:
    """Those of the calls in a body."""
    for content in body.each("contents"):
        for part in content.each("parts"):
            call = part.part("functionCall")
            if call is not None and (call_id := call.text("id")):
                yield call_id


def texts_in(content: ProtoFields | None) -> Iterator[Text]:
    """The parts of a content that has to be text."""
    if content is None:
        return
    content.hint("role")  # means nothing in what the system says
    for part in content.each("parts"):
        yield Text(part.needed("text"), part.at("text"))
        part.done()
    content.done()


def _said(content: ProtoFields, calls: "_Calls") -> Said:
    role = content.text("role") or "user"
    parts = list(content.each("parts"))
    if role not in ("user", "model", "function"):  # the last is what results came under at first
        raise refusal(content.at("role"))
    content.done()
    if role == "model":
        return "assistant", tuple(found for part in parts for found in _answered(part, calls))
    return "user", tuple(_asked(part, calls) for part in parts)


def _asked(part: ProtoFields, calls: "_Calls") -> Part:
    """One part of what a user says."""
    part.only("thought", False)
    found: Part
    if part.has("text"):
        found = Text(part.needed("text"), part.place)
    elif (blob := part.part("inlineData")) is not None:
        found = _media(blob, part.place)
    elif (response := part.part("functionResponse")) is not None:
        found = _result(response, calls)
    else:
        part.done()
        raise BadBody(f"{part.place} has nothing in it.", part.place)
    part.done()
    return found


def _answered(part: ProtoFields, calls: "_Calls") -> Iterator[Part]:
    """One part of what a model said, and before it the signature that it carries."""
    yield from _signature(part)
    thought = part.flag("thought")
    if (text := part.text("text")) is not None:
        if thought:
            yield Thinking(text, None, part.place)
        elif text:  # streams end with a part of no text
            yield Text(text, part.place)
    elif (call := part.part("functionCall")) is not None:
        name, arguments = call.needed("name"), call.mapping("args")
        yield ToolCall(calls.made(name, call.text("id")), name, arguments or {}, part.place)
        call.done()
    part.done()


def _signature(part: ProtoFields) -> Iterator[Part]:
    place, signature = part.at("thoughtSignature"), part.text("thoughtSignature")
    if not signature:
        return
    try:
        found = base64.b64decode(_standard(signature), validate=True).decode()
    except ValueError:
        found = ""
    if found.startswith(SIGNED):
        yield Thinking("", found.removeprefix(SIGNED), place)
    elif found.startswith(REDACTED):
        yield RedactedThinking(found.removeprefix(REDACTED), place)
    else:
        raise refusal(place, "is what a model of another provider thought, and means nothing to this one")


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Pieces of thoughts as one, with the signature that comes after them."""
    thoughts: list[Thinking] = []
    for part in parts:
        if isinstance(part, Thinking) and part.signature is None:
            thoughts.append(part)
            continue
        text, place = "".join(thought.text for thought in thoughts), thoughts[0].place if thoughts else ""
        if isinstance(part, Thinking):
            yield Thinking(text, part.signature, place or part.place)
        else:
            if thoughts:
                yield Thinking(text, None, place)
            yield part
        thoughts = []
    if thoughts:
        yield Thinking("".join(thought.text for thought in thoughts), None, thoughts[0].place)


def _media(blob: ProtoFields, place: str) -> Image | File:
    media_type, data, name = blob.needed("mimeType"), _standard(blob.needed("data")), blob.text("displayName")
    blob.done()
    if media_type.startswith("image/"):
        return Image(media_type, data, place)
    if media_type != PDF:
        raise refusal(place, "is neither a picture nor a PDF, and nothing else can be translated")
    return File(data, name, place)


def _standard(data: str) -> str:
    """Base64 as other providers read it."""
    if "-" in data or "_" in data:
        data = data.translate(_STANDARD)
    return data + "=" * (-len(data) % 4)


def _result(response: ProtoFields, calls: "_Calls") -> ToolResult:
    """What a function returned. By Google's reference `output` and `error` mean what they say if alone there."""
    place, name = response.place, response.needed("name")
    call_id = calls.answered(name, response.text("id"), place)
    told = response.mapping("response") or {}
    response.only("willContinue", False)
    pictures: list[Image] = []
    for part in response.each("parts"):
        blob = part.part("inlineData")
        found = None if blob is None else _media(blob, part.place)
        if not isinstance(found, Image):
            raise refusal(part.place)
        pictures.append(found)
        part.done()
    response.done()
    value = next(iter(told.values())) if set(told) in ({"output"}, {"error"}) else told
    try:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    except TypeError:
        raise BadBody(f"{place} is nested too deeply.", place) from None
    return ToolResult(call_id, (Text(text, place), *pictures), "error" in told and value is not told, place)


class _Calls:
    """Pairs results with calls. Google's API goes by the name and the order where there are no ids."""

    def __init__(self, told: frozenset[str]) -> None:
        self._open: dict[str, dict[str, None]] = {}  # by name, the ids of calls without a result, in order
        self._told = told  # the ids of calls in the body
        self._known: set[str] = set()  # those of the calls so far
        self._count = 0

    def made(self, name: str, call_id: str | None) -> str:
        call_id = call_id or self._unused()
        self._known.add(call_id)
        self._open.setdefault(name, {})[call_id] = None
        return call_id

    def _unused(self) -> str:
        """One that no other call has."""
        while True:
            self._count += 1
            if (call_id := f"call_{self._count}") not in self._told:
                return call_id

    def answered(self, name: str, call_id: str | None, place: str) -> str:
        waiting = self._open.get(name, {})
        if call_id and call_id not in self._known:
            raise BadBody(f"{place} is the result of no call with this id.", place)
        call_id = call_id or next(iter(waiting), None)
        if call_id is None:
            raise BadBody(f"{place} is the result of no call of this name.", place)
        waiting.pop(call_id, None)
        return call_id
