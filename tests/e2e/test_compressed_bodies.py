"""Bodies with a Content-Encoding: judged and sent plain, or refused by the name of their coding."""

import gzip
import json
import zlib
from collections.abc import Callable
from time import monotonic

import brotli
import pytest
from ask_kit import ask, told
from harness import Router
from raw_http import ScriptedProvider, bearer, chat_body


def zstd_of(data: bytes) -> bytes:
    """A frame of raw blocks (RFC 8878, section 3.1.1): what every decoder reads, without a compressor."""
    blocks = b""
    for at in range(0, len(data), 100_000):
        piece = data[at : at + 100_000]
        blocks += (len(piece) << 3 | (at + 100_000 >= len(data))).to_bytes(3, "little") + piece
    return b"\x28\xb5\x2f\xfd\x80\x58" + len(data).to_bytes(4, "little") + blocks


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstd_of, "GZIP": gzip.compress,
}  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/videos"])
def test_a_compressed_body_is_judged_and_sent_plain(
    stage: Router, quiet: ScriptedProvider, coding: str, path: bytes
) -> None:
    _, key = stage.create_key(name="small", allowed_models=["gpt-4o-mini"])
    for model, status in (("gpt-4o-mini", 200), ("gpt-4o", 403)):
        plain = chat_body("hello " * 1000, model=model)
        fields = (b"Content-Type: application/json", b"Content-Encoding: " + coding.encode())
        answer = ask(stage, b"POST " + path, bearer(key), *fields, body=CODINGS[coding](plain))
        assert answer.status == status
    (heard,) = quiet.heard
    assert json.loads(heard.body)["messages"][0]["content"] == "hello " * 1000
    assert "content-encoding" not in heard.headers


@pytest.mark.parametrize("coding", [b"compress", b"gzip, br", b"snappy", b"gzip\r\nContent-Encoding: gzip"])
def test_another_coding_is_refused_by_its_name(stage: Router, quiet: ScriptedProvider, coding: bytes) -> None:
    _, key = stage.create_key(name="odd")
    answer = ask(stage, b"POST /v1/chat/completions", bearer(key), b"Content-Encoding: " + coding, body=b"x" * 50)
    assert (answer.status, answer.code, quiet.heard) == (415, "unsupported_encoding", [])
    assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert "Content-Encoding" in told(answer)["error"]["message"]


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize(
    ("spoil", "status"), [(lambda data: data[:-3], 400), (lambda data: b"x" + data, 400), (lambda data: data, 413)]
)
def test_a_damaged_body_is_400_and_a_bomb_is_413(
    stage: Router, quiet: ScriptedProvider, coding: str, spoil: Callable[[bytes], bytes], status: int
) -> None:
    _, key = stage.create_key(name="bomb", spend_limit_usd="1")
    size = 33 * 1024 * 1024 if status == 413 else 1000
    data = spoil(CODINGS[coding](b" " * size))
    answer = ask(stage, b"POST /v1/chat/completions", bearer(key), b"Content-Encoding: " + coding.encode(), body=data)
    assert (answer.status, quiet.heard) == (status, [])


def test_w1_frames_that_hold_nothing_are_400_at_once(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="empty", spend_limit_usd="0")
    data = bytes.fromhex("502A4D1800000000") * 500_000  # of RFC 8878, section 3.1.2: to be skipped
    began = monotonic()
    answer = ask(stage, b"POST /v1/chat/completions", bearer(key), b"Content-Encoding: zstd", body=data)
    assert (answer.status, quiet.heard) == (400, [])
    assert "zstd" in told(answer)["error"]["message"]
    assert monotonic() - began < 2.0
