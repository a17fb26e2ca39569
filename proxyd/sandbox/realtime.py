"""OpenAI Realtime. Shapes: `openai.types.realtime` of the openai package."""

import base64
from typing import Any

from proxyd.sandbox import behaviour, openai, reading
from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.invoice import MARKER_CHARACTERS, Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.sessions import Session, SessionGone
from proxyd.sandbox.speech import speak, tokens
from proxyd.sandbox.turn import WORD, NewAttempt, counts_of, prepared
from proxyd.sandbox.values import Document


class RealtimeConversation:
    """OpenAI Realtime. Whoever has spoken (sound that is not silence) and is silent has ended a turn."""

    def __init__(self, attempt: NewAttempt, model: str) -> None:
        self._attempt = attempt
        self._model = model
        self._session: Document = {
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_sandbox",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "max_output_tokens": "inf",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "turn_detection": {"type": "server_vad", "create_response": True},
                    "transcription": None,
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy"},
            },
        }
        self._text_tokens = 0  # of the conversation so far
        self._audio_tokens = 0
        self._prompt = ""
        self._buffer_bytes = 0
        self._spoken = False
        self._count = 0

    def greet(self, session: Session) -> None:
        session.send({"type": "session.created", "event_id": self._event_id(), "session": self._session})

    def hear(self, session: Session, message: Document, size: int) -> None:
        del size
        try:
            self._heard(session, message)
        except Refusal as refusal:
            error = {**openai.error(refusal)["error"], "event_id": message.get("event_id")}
            session.send({"type": "error", "event_id": self._event_id(), "error": error})

    def _heard(self, session: Session, message: Document) -> None:
        kind = message.get("type")
        if kind == "session.update":
            self._update(session, message)
        elif kind == "conversation.item.create":
            self._add(session, message)
        elif kind == "input_audio_buffer.append":
            self._append(session, message)
        elif kind == "input_audio_buffer.commit":
            self._commit(session)
        elif kind == "response.create":
            given = message.get("response")
            self._respond(session, given if isinstance(given, dict) else {})
        elif kind != "response.cancel":
            raise Refusal(400, f"Unknown event {kind!r}.", code="unknown_event")

    def _event_id(self) -> str:
        self._count += 1
        return f"event_{self._count}"

    def _update(self, session: Session, message: Document) -> None:
        wanted = message.get("session")
        if isinstance(wanted, dict):
            self._session = _merged(self._session, wanted)
        session.send({"type": "session.updated", "event_id": self._event_id(), "session": self._session})

    def _add(self, session: Session, message: Document) -> None:
        item = message.get("item")
        item = item if isinstance(item, dict) else {}
        text = reading.text_of(item.get("content"))
        self._text_tokens += reading.tokens_of(item.get("content"))
        if item.get("role", "user") == "user":
            self._prompt = text
        item = {"id": f"item_{self._count}", "status": "completed", **item}
        session.send({"type": "conversation.item.added", "event_id": self._event_id(), "item": item})

    def _append(self, session: Session, message: Document) -> None:
        sound = base64.b64decode(str(message.get("audio", "")))
        self._buffer_bytes += len(sound)
        if sound.strip(b"\0"):
            if not self._spoken:
                session.send({"type": "input_audio_buffer.speech_started", "event_id": self._event_id()})
            self._spoken = True
        elif self._spoken and (detection := self._session["audio"]["input"]["turn_detection"]):
            session.send({"type": "input_audio_buffer.speech_stopped", "event_id": self._event_id()})
            self._commit(session)
            if detection.get("create_response") is not False:
                self._respond(session, {})

    def _commit(self, session: Session) -> None:
        heard = -(-self._buffer_bytes // 4_800)
        self._audio_tokens += heard
        self._buffer_bytes, self._spoken = 0, False
        session.send({"type": "input_audio_buffer.committed", "event_id": self._event_id(), "item_id": "item_heard"})
        wanted = self._session["audio"]["input"]["transcription"]
        if isinstance(wanted, dict):
            self._transcribe(session, str(wanted.get("model")), heard)

    def _transcribe(self, session: Session, model: str, heard: int) -> None:
        attempt = self._attempt()
        attempt.model, attempt.marker, attempt.status, attempt.finished = model, "transcription", 101, True
        attempt.charge_counts(model, input_tokens=heard, input_audio_tokens=heard, output_tokens=3)
        details = {"text_tokens": 0, "audio_tokens": heard}
        usage = {"type": "tokens", "input_tokens": heard, "output_tokens": 3, "total_tokens": heard + 3}
        session.send(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                "event_id": self._event_id(),
                "item_id": "item_heard",
                "content_index": 0,
                "transcript": "Something was said.",
                "usage": {**usage, "input_token_details": details},
            }
        )

    def _respond(self, session: Session, asked: Document) -> None:
        attempt = self._attempt()
        number = f"resp_{attempt.id}"
        try:
            prompt, wanted = behaviour.of_prompt(self._prompt)
            attempt.marker = self._prompt[:MARKER_CHARACTERS]
            model, how = prepared("openai", self._model, wanted, attempt)
            limit = asked.get("max_output_tokens", self._session["max_output_tokens"])
            speech = speak(prompt, how, limit_tokens=limit if isinstance(limit, int) else None)
            modalities = asked.get("output_modalities", self._session["output_modalities"])
            self._say(session, attempt, number, model, speech.pieces, how, sound="audio" in (modalities or ()))
        except SessionGone:
            attempt.client_aborted = not attempt.cut
            raise
        finally:
            attempt.finished = True

    def _say(
        self, session: Session, attempt: Attempt, number: str, model: str, pieces: Any, how: Behaviour, *, sound: bool
    ) -> None:
        text_in = self._text_tokens + tokens(str(self._session["instructions"]))
        audio_in = self._audio_tokens
        response: Document = {"id": number, "object": "realtime.response", "conversation_id": "conv_1", "output": []}
        start = {**response, "status": "in_progress", "usage": None}
        session.send({"type": "response.created", "event_id": self._event_id(), "response": start})
        place = {"response_id": number, "item_id": "item_said", "output_index": 0, "content_index": 0}
        said, text_out, audio_out = "", 0, 0
        if how.hang:
            session.wait(3_600.0)
        for piece in session.paced(how, iter(pieces)):
            said += piece
            text_out, audio_out = tokens(said), audio_out + sound
            attempt.charge_counts(model, **counts_of(text_in, audio_in, text_out, audio_out))
            name = "response.output_audio_transcript.delta" if sound else "response.output_text.delta"
            session.send({"type": name, "event_id": self._event_id(), **place, "delta": piece})
            if sound:
                delta = {"type": "response.output_audio.delta", "event_id": self._event_id(), **place, "delta": WORD}
                session.send(delta)
            attempt.events_sent += 1
        failed = session.broken_off(how, attempt)
        if failed:
            attempt.charge_nothing()
        usage = None if failed or how.no_usage else _usage(text_in, audio_in, text_out, audio_out)
        self._text_tokens += text_out
        self._audio_tokens += audio_out
        ended = {**response, "status": "failed" if failed else "completed", "usage": usage}
        session.send({"type": "response.done", "event_id": self._event_id(), "response": ended})


def _usage(text_in: int, audio_in: int, text_out: int, audio_out: int) -> Document:
    cached = {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}
    return {
        "input_tokens": text_in + audio_in,
        "output_tokens": text_out + audio_out,
        "total_tokens": text_in + audio_in + text_out + audio_out,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": cached,
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


def _merged(old: Document, new: Document) -> Document:
    found = dict(old)
    for name, value in new.items():
        known = found.get(name)
        found[name] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return found
