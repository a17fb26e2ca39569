"""OpenAI Responses over a WebSocket. Shapes: `ResponsesClientEvent`, `ResponsesServerEvent` of the openai package."""

import orjson

from proxyd.sandbox import behaviour, openai
from proxyd.sandbox.invoice import MARKER_CHARACTERS, Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.responses import RESPONSES
from proxyd.sandbox.sessions import Session, SessionGone
from proxyd.sandbox.speech import speak
from proxyd.sandbox.turn import NewAttempt, prepared
from proxyd.sandbox.values import Bill, Document, Telling


class ResponsesConversation:
    """OpenAI Responses, one turn after the other."""

    def __init__(self, attempt: NewAttempt) -> None:
        self._attempt = attempt

    def greet(self, session: Session) -> None:
        """The client speaks first."""

    def hear(self, session: Session, message: Document, size: int) -> None:
        del size
        lane = {"stream_id": message["stream_id"]} if isinstance(message.get("stream_id"), str) else {}
        attempt = self._attempt()
        try:
            self._answer(session, message, lane, attempt)
        except Refusal as refusal:
            attempt.status = refusal.status
            error = openai.error(refusal)["error"]
            session.send({"type": "error", "status": refusal.status, "error": error, "sequence_number": 0, **lane})
        except SessionGone:
            attempt.client_aborted = not attempt.cut
            raise
        finally:
            attempt.finished = True

    def _answer(self, session: Session, message: Document, lane: Document, attempt: Attempt) -> None:
        if message.get("type") != "response.create":
            raise Refusal(400, f"Unknown event {message.get('type')!r}.")
        heard = RESPONSES.hear(message, None, "")
        prompt, wanted = behaviour.of_prompt(heard.prompt)
        attempt.marker = heard.prompt[:MARKER_CHARACTERS]
        model, how = prepared("openai", heard.model, wanted, attempt)
        speech = speak(prompt, how, limit_tokens=heard.limit_tokens)
        telling = Telling(attempt.id, int(attempt.at), model, heard, speech, usage=not how.no_usage)
        bill = Bill(model, heard.input_tokens, speech.output_tokens)
        if how.hang:
            session.wait(3_600.0)
        for event in session.paced(how, RESPONSES.events(telling)):
            _, _, data = event.data.partition(b"\ndata: ")
            attempt.charge(bill, event.output_tokens)
            session.send({**orjson.loads(data), **lane})
            attempt.events_sent += 1
        if session.broken_off(how, attempt):
            attempt.charge_nothing()
            raise Refusal(500, "The server had an error while processing your request.")
