"""What is wrong with a request is told to a key that may come in, as it stands now; to another, that it may not."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from custom_kit import key_with
from gateway_kit import CHAT, GOOD, App, Gate, Provider, Sent, answered
from request_kit import Untouched

from proxyd.messages import Headers, Request
from shared.counters import CountersUnavailable

REVOKED: dict[str, Any] = {"revoked_at": datetime(2026, 1, 1, tzinfo=UTC)}
EDITS = {
    "key_revoked": REVOKED,
    "key_paused": {"paused": True},
    "key_expired": {"expires_at": datetime(2026, 1, 1, tzinfo=UTC)},
    "ip_blocked": {"allowed_ips": ["192.0.2.1"]},
}
Fault = Callable[[Gate], tuple[int, str]]


@dataclass(frozen=True)
class Asked:
    """A request with a fault of its own."""

    document: object = None
    body: bytes = b""
    path: str = "/v1/chat/completions"
    more: Headers = ()
    method: str = "POST"

    def __call__(self, gate: Gate) -> tuple[int, str]:
        got = gate.ask(self.document, path=self.path, body=self.body, more=self.more, method=self.method)
        return got.status, got.headers["x-router-error"]


@dataclass(frozen=True)
class Opened:
    """A handshake with one."""

    path: str
    query: str = ""

    def __call__(self, gate: Gate) -> tuple[int, str]:
        got = answered(gate.handshake(self.path, self.query))
        return got.status, got.headers["x-router-error"]


TO_CLAUDE = {**CHAT, "model": "anthropic/claude-haiku-4-5"}
FAULTS: dict[str, tuple[Fault, tuple[int, str]]] = {
    "no JSON": (Asked(body=b'{"model":'), (400, "invalid_request")),
    "no model": (Asked({"messages": []}), (400, "invalid_request")),
    "a limit below nothing": (Asked({**CHAT, "max_tokens": -1}), (400, "invalid_request")),
    "a label": (Asked(more=((b"x-router-tag", b"x" * 100),)), (400, "invalid_request")),
    "a coding": (Asked(more=((b"content-encoding", b"lzma"),)), (415, "unsupported_encoding")),
    "a broken coding": (Asked(body=b"no gzip", more=((b"content-encoding", b"gzip"),)), (400, "invalid_request")),
    "too much": (
        Asked(body=gzip.compress(bytes(33 * 1024 * 1024), 1), more=((b"content-encoding", b"gzip"),)),
        (413, "request_too_large"),
    ),
    "of nobody's": (Asked({**CHAT, "model": "gpt"}), (400, "invalid_request")),
    "of another API": (Asked({**CHAT, "model": "gpt-4o", "top_k": 3}, path="/v1/messages"), (400, "invalid_request")),
    "not metered": (Asked(body=b"[", path="/v1/batches"), (400, "invalid_request")),
    "a name of nobody's": (Asked(path="/lab/v1/chat/completions"), (404, "unknown_endpoint")),
    "a session of no model": (Opened("/v1/realtime"), (426, "upgrade_not_supported")),
    "a session that is led elsewhere": (Opened("/v1/realtime", "model=a%26b"), (400, "invalid_request")),
}


@pytest.fixture
def known(gate: Gate, provider: Provider) -> Gate:
    """A gate whose worker knows the key from a request."""
    gate.open(provider.url)
    key_with(gate, spend_limit_nanos=None)
    gate.store(GOOD)
    assert gate.ask().status == 200
    return gate


@pytest.mark.parametrize("fault", FAULTS)
def test_it_works(known: Gate, fault: str) -> None:
    ask, told = FAULTS[fault]
    assert ask(known) == told
    key_with(known, **REVOKED)
    assert ask(known) == (403, "key_revoked")


@pytest.mark.parametrize("reason", EDITS)
def test_whatever_shuts_a_key_out(known: Gate, reason: str) -> None:
    key_with(known, **EDITS[reason])
    assert Asked(body=b"[")(known) == (403, reason)


def test_an_edit_that_lets_it_in_leaves_the_fault(known: Gate) -> None:
    key_with(known, rate_limit_rpm=1)
    assert Asked(body=b"[")(known) == (400, "invalid_request")
    assert Asked(body=b"[")(known) == (400, "invalid_request"), "nothing was taken for it"


def test_a_key_in_the_place_of_a_model(known: Gate) -> None:
    key_with(known, **REVOKED)
    assert Asked({**CHAT, "model": known.key})(known) == (403, "key_revoked")


def test_a_model_that_the_key_may_not_use_any_more_is_not_translated(known: Gate) -> None:
    ask = Asked({**TO_CLAUDE, "model": "gpt-4o", "top_k": 3}, path="/v1/messages")
    assert ask(known) == (400, "invalid_request")
    key_with(known, allowed_models=["claude-*"])
    assert ask(known) == (403, "model_not_allowed")


@dataclass
class Large(Untouched):
    """A body that nobody may read."""

    length: int | None = 300_000


def test_a_large_body_of_a_key_that_was_revoked_is_not_read(known: Gate) -> None:
    key_with(known, **REVOKED)
    headers: Headers = ((b"authorization", f"Bearer {known.key}".encode()), (b"content-type", b"application/json"))
    for path in ("/v1/chat/completions", "/v1/batches"):
        got = answered(known.gateway.handle(Request("POST", path, "", headers, App(), Large())))
        assert (got.status, json.loads(got.body)["error"]["code"]) == (403, "key_revoked")


def test_who_was_admitted_is_told_what_went_wrong_afterwards(known: Gate) -> None:
    """What runs ends as it would have: the second model comes when the form is on its way to the provider."""
    part = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n'
    file = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n%b\r\n' % bytes(200_000)

    class Revoking(Sent):
        def chunks(self, limit_bytes: int) -> Iterator[bytes]:
            for number, piece in enumerate(super().chunks(limit_bytes)):
                if number == 3:
                    key_with(known, **REVOKED)
                yield piece

    headers: Headers = (
        (b"authorization", f"Bearer {known.key}".encode()), (b"content-type", b"multipart/form-data; boundary=b")
    )  # fmt: skip
    form = Revoking(part + file + part + b"--b--\r\n")
    got = answered(known.gateway.handle(Request("POST", "/v1/fine_tuning/uploads", "", headers, App(), form)))
    assert (got.status, got.headers["x-router-error"]) == (400, "invalid_request")
    assert Asked(body=b"[")(known) == (403, "key_revoked")


def test_a_fault_is_told_while_nobody_can_tell_what_became_of_the_key(
    known: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without counters the database is asked; that it still is as it was is enough."""
    monkeypatch.setattr(known.worker.counters, "rows", _unavailable)
    assert Asked(body=b"[")(known) == (400, "invalid_request")
    key_with(known, **REVOKED)
    assert Asked(body=b"[")(known) == (403, "key_revoked")


def _unavailable(_: object) -> None:
    raise CountersUnavailable("OSError")
