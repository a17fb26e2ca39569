"""A WebSocket's handshake: which of the three conversations it asks for, and whether it may have it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qs

from proxyd.sandbox.live import LiveConversation
from proxyd.sandbox.realtime import RealtimeConversation
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.responses_session import ResponsesConversation
from proxyd.sandbox.routes import CREDENTIAL_START, Place, credential_of
from proxyd.sandbox.service import SandboxService
from proxyd.sandbox.sessions import Conversation, accepted
from proxyd.sandbox.turn import NewAttempt
from proxyd.sandbox.values import Document, SandboxRequest

_LIVE = "/ws/google.ai.generativelanguage."


class Opened(NamedTuple):
    """A handshake that was accepted."""

    answer: bytes
    conversation: Conversation
    binary: bool  # as Google's server sends its messages


def open_session(service: SandboxService, ask: SandboxRequest) -> Opened:
    """Accept a handshake. Raises Refusal."""
    key = ask.headers.get("sec-websocket-key")
    if key is None or ask.headers.get("sec-websocket-version") != "13" or "sec-websocket-extensions" in ask.headers:
        raise Refusal(400, "The sandbox speaks WebSockets of version 13, without extensions.")
    place, begin = _conversation(ask)
    credential = credential_of(ask, place)[1]
    if not credential.startswith(CREDENTIAL_START):
        raise Refusal(401, f"The sandbox takes keys that begin with {CREDENTIAL_START}.")
    if service.credentials.hangs_up(credential):
        raise Refusal(503, "The sandbox hangs up on requests only; a handshake is refused.")
    conversation = begin(partial(service.new_attempt, ask, place))
    offered = ask.headers.get("sec-websocket-protocol")
    protocol = None if offered is None else offered.split(",")[0].strip()
    return Opened(accepted(key, protocol), conversation, place.provider == "gemini")


def _conversation(ask: SandboxRequest) -> tuple[Place, Callable[[NewAttempt], Conversation]]:
    if ask.path == "/v1/responses":
        return Place("openai", "openai", None), ResponsesConversation
    if ask.path == "/v1/realtime":
        model = parse_qs(ask.query).get("model", [""])[0]
        return Place("openai", "openai", None), lambda attempt: RealtimeConversation(attempt, model)
    if ask.path.startswith(_LIVE):
        return Place("gemini", "gemini", None), LiveConversation
    raise Refusal(404, f"No WebSocket is at {ask.path[:200]}.", code="unknown_url")


def refused(refusal: Refusal) -> tuple[int, Document]:
    """The answer to a handshake that was not accepted."""
    return refusal.status, {
        "error": {"message": refusal.message, "type": "invalid_request_error", "code": refusal.code}
    }
