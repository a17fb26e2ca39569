"""Gemini Live. Shapes: `LiveClientMessage` and `LiveServerMessage` of the google-genai package."""

import base64
from collections.abc import Iterator

from proxyd.sandbox import behaviour, gemini, reading
from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.invoice import MARKER_CHARACTERS, Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.sessions import Session, SessionGone
from proxyd.sandbox.speech import speak, tokens
from proxyd.sandbox.turn import WORD, NewAttempt, counts_of, prepared
from proxyd.sandbox.values import Document


class LiveConversation:
    """Gemini Live."""

    def __init__(self, attempt: NewAttempt) -> None:
        self._attempt = attempt
        self._model = ""
        self._sound = False
        self._text_tokens = 0
        self._audio_bytes = 0

    def greet(self, session: Session) -> None:
        """The client speaks first."""

    def hear(self, session: Session, message: Document, size: int) -> None:
        del size
        setup = message.get("setup")
        if isinstance(setup, dict):
            self._model = str(setup.get("model", "")).removeprefix("models/")
            config = setup.get("generationConfig")
            asked = config.get("responseModalities") if isinstance(config, dict) else None
            self._sound = isinstance(asked, list) and "AUDIO" in asked
            self._text_tokens = tokens(reading.text_of(_parts(setup.get("systemInstruction"))))
            session.send({"setupComplete": {}})
            return
        content = message.get("clientContent", message.get("client_content"))
        live = message.get("realtimeInput", message.get("realtime_input"))
        prompt = ""
        if isinstance(content, dict) and isinstance(content.get("turns"), list):
            prompt = "".join(reading.text_of(_parts(turn)) for turn in content["turns"])
            if content.get("turnComplete", content.get("turn_complete")) is False:
                return
        elif isinstance(live, dict):
            prompt = str(live.get("text", ""))
            audio = live.get("audio")
            if isinstance(audio, dict):
                self._audio_bytes += len(base64.b64decode(str(audio.get("data", ""))))
                return
        if prompt:
            self._text_tokens += tokens(prompt)
            self._respond(session, prompt)

    def _respond(self, session: Session, prompt: str) -> None:
        attempt = self._attempt()
        try:
            attempt.marker = prompt[:MARKER_CHARACTERS]
            rest, wanted = behaviour.of_prompt(prompt)
            model, how = prepared("gemini", self._model, wanted, attempt)
            self._say(session, attempt, model, iter(speak(rest, how, limit_tokens=None).pieces), how)
        except Refusal as refusal:
            session.close(1008, gemini.error(refusal)["error"]["message"][:120])
            raise SessionGone from None
        except SessionGone:
            attempt.client_aborted = not attempt.cut
            raise
        finally:
            attempt.finished = True

    def _say(self, session: Session, attempt: Attempt, model: str, pieces: Iterator[str], how: Behaviour) -> None:
        text_in, audio_in, said, audio_out = self._text_tokens, -(-self._audio_bytes // 1_280), "", 0
        for piece in session.paced(how, pieces):
            said, audio_out = said + piece, audio_out + self._sound
            sound = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": WORD}}
            part = sound if self._sound else {"text": piece}
            session.send({"serverContent": {"modelTurn": {"parts": [part]}}})
            attempt.events_sent += 1
        session.broken_off(how, attempt)
        text_out = 0 if self._sound else tokens(said)
        attempt.charge_counts(model, **counts_of(text_in, audio_in, text_out, audio_out))
        self._text_tokens += text_out
        usage = {
            "promptTokenCount": text_in + audio_in,
            "responseTokenCount": text_out + audio_out,
            "totalTokenCount": text_in + audio_in + text_out + audio_out,
            "promptTokensDetails": _details(text_in, audio_in),
            "responseTokensDetails": _details(text_out, audio_out),
        }
        session.send({"serverContent": {"generationComplete": True}})
        session.send({"serverContent": {"turnComplete": True}, **({} if how.no_usage else {"usageMetadata": usage})})


def _parts(content: object) -> object:
    return content.get("parts") if isinstance(content, dict) else content


def _details(text: int, audio: int) -> list[Document]:
    return [
        {"modality": modality, "tokenCount": count} for modality, count in (("TEXT", text), ("AUDIO", audio)) if count
    ]
