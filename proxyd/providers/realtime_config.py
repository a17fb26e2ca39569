"""What a session of OpenAI Realtime is set to, as far as money depends on it.

Both shapes are read: that of today (`audio.input`, `audio.output`) and that of the beta, whose fields stand at the top.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class SessionConfig(Struct):
    """What a session is set to, as far as money depends on it."""

    model: str | None = None  # as the provider names it
    output_limit: int | None = None  # tokens of a response; None: the model's own maximum
    speaks: bool = True
    spontaneous: bool = True  # the provider begins responses by itself, when it hears that somebody has spoken
    prompts: bool = False  # and even when nobody has, after a while
    transcribes: str | None = None  # by which model
    heard: str = "pcm"
    said: str = "pcm"
    unpriced: str | None = None  # a feature whose cost nobody can bound

    def told(self, session: Mapping[str, Any]) -> None:
        """The provider has told all of it."""
        model = session.get("model")
        self.model = model[:200] if isinstance(model, str) else self.model
        self.output_limit = limit_in(session)
        modalities = _first(session, "output_modalities", "modalities")
        self.speaks = not isinstance(modalities, list) or "audio" in modalities
        self.spontaneous, self.prompts = _is_spontaneous(session), _prompts(session)
        self.transcribes = transcribed_by(session)
        self.heard = _format(_input(session), session.get("input_audio_format"), self.heard)
        self.said = _format(_output(session), session.get("output_audio_format"), self.said)
        self.unpriced = _unpriced(session)

    def asked(self, session: Mapping[str, Any]) -> None:
        """A client asks for something else, which the provider may refuse: until it has told, both may hold."""
        if "max_output_tokens" in session or "max_response_output_tokens" in session:
            limit = limit_in(session)
            self.output_limit = None if limit is None or self.output_limit is None else max(limit, self.output_limit)
        modalities = _first(session, "output_modalities", "modalities")
        self.speaks = self.speaks or (isinstance(modalities, list) and "audio" in modalities)
        if "turn_detection" in session or "turn_detection" in _input(session):
            self.spontaneous = self.spontaneous or _is_spontaneous(session)
            self.prompts = self.prompts or _prompts(session)
        if _format(_input(session), session.get("input_audio_format"), "pcm") == "g711":
            self.heard = "g711"


def _first(document: Mapping[str, Any], *names: str) -> Any:
    return next((document[name] for name in names if document.get(name) is not None), None)


def part_of(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


TRANSCRIPTION = "input transcription"


def _input(session: Mapping[str, Any]) -> Mapping[str, Any]:
    return part_of(part_of(session, "audio"), "input")


def _output(session: Mapping[str, Any]) -> Mapping[str, Any]:
    return part_of(part_of(session, "audio"), "output")


def limit_in(settings: Mapping[str, Any]) -> int | None:
    limit = _first(settings, "max_output_tokens", "max_response_output_tokens")
    return limit if type(limit) is int and limit > 0 else None


def _detection(session: Mapping[str, Any]) -> object:
    own = _input(session)
    return own["turn_detection"] if "turn_detection" in own else session.get("turn_detection", {})


def _is_spontaneous(session: Mapping[str, Any]) -> bool:
    detection = _detection(session)
    return isinstance(detection, dict) and detection.get("create_response") is not False


def _prompts(session: Mapping[str, Any]) -> bool:
    detection = _detection(session)
    return isinstance(detection, dict) and detection.get("idle_timeout_ms") is not None


def transcribed_by(session: Mapping[str, Any]) -> str | None:
    """The model that writes down what is heard; None: none does."""
    found = _input(session).get("transcription")
    if found is None:
        found = session.get("input_audio_transcription")
    model = found.get("model") if isinstance(found, dict) else None
    return None if found is None else model[:200] if isinstance(model, str) else "a transcription"


def _format(side: Mapping[str, Any], older: object, known: str) -> str:
    kind = part_of(side, "format").get("type", older)
    if not isinstance(kind, str):
        return known
    return "pcm" if kind in ("audio/pcm", "pcm16") else "g711"


def _unpriced(session: Mapping[str, Any]) -> str | None:
    """What makes calls, or brings texts, that nobody can see from here."""
    tools = session.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type") != "function":
            return f"the tool {str(tool.get('type') if isinstance(tool, dict) else tool)[:80]}"
    return "prompt" if session.get("prompt") is not None else None


def unpriced_in(message: Mapping[str, Any], model: str) -> list[tuple[str, str]]:
    """The features of a client's event that have no price, each with the model that it is of; `model` is the session's.

    What is heard is written down by a model of its own, which must be one that the key may use.
    """
    session, response = part_of(message, "session"), part_of(message, "response")
    used = ((transcribed_by(session), TRANSCRIPTION), (model, _unpriced(session) or _unpriced(response)))
    return [(of, what) for of, what in used if of is not None and what is not None]
