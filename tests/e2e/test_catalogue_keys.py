"""Cases K of the catalogue: what is no key never costs anything, and an edit reaches even a worker that slept."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from calls import marker, seen
from harness import Router, eventually
from raw_http import Answer, Line, bearer, chat_body, chat_request, dial, request, worker_of

from shared import keys

HEX = keys.mint(keys.PROXY_TAG).raw.removeprefix("sk-proxy-")
OTHER_DIGITS = "".join(chr(0x0660 + int(digit)) if digit.isdigit() else digit for digit in HEX)

NO_KEYS = {
    "missing": b"X-Nothing: here",
    "empty": b"Authorization: ",
    "bearer-alone": b"Authorization: Bearer",
    "bearer-space": b"Authorization: Bearer ",
    "basic": b"Authorization: Basic c2stcHJveHk6eA==",
    "63-hex": b"Authorization: Bearer sk-proxy-" + HEX[:-1].encode(),
    "65-hex": b"Authorization: Bearer sk-proxy-" + HEX.encode() + b"0",
    "upper-case": b"Authorization: Bearer sk-proxy-" + HEX.upper().encode(),
    "upper-case-tag": b"Authorization: Bearer SK-PROXY-" + HEX.encode(),
    "no-hex": b"Authorization: Bearer sk-proxy-" + HEX[:-1].encode() + b"g",
    "checksum": b"Authorization: Bearer sk-proxy-" + HEX[:-8].encode() + b"00000000",
    "unicode-digits": b"Authorization: Bearer sk-proxy-" + OTHER_DIGITS.encode(),
    "two-words": b"Authorization: Bearer sk-proxy-" + HEX.encode() + b" x",
    "15-KB": b"Authorization: Bearer sk-proxy-" + b"a" * 15_000,
    "x-api-key-empty": b"x-api-key: ",
    "x-goog-api-key": b"x-goog-api-key: AIza" + b"x" * 35,
}
INJECTIONS = (b"' OR '1'='1", b'"; DROP TABLE proxy_keys; --', b"%00", b"{$ne:1}", b"sk-proxy-%27%20OR%201=1")


def rejected(router: Router, text: str, *fields: bytes, path: bytes = b"POST /v1/chat/completions") -> Answer:
    """The answer to a request without a key: 401, on a connection that stays in order."""
    body = chat_body(text)
    with dial(router) as line:
        line.send(request(path, *fields, b"Content-Length: %d" % len(body), body=body))
        answer = line.answer()
        assert answer.status == 401, (fields, answer)
        assert answer.code == "invalid_proxy_key"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"].startswith("application/json")
    return answer


@pytest.mark.parametrize("field", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_k03_what_is_no_key(router: Router, field: bytes) -> None:
    text = marker()
    answer = rejected(router, text, field)
    assert HEX.encode() not in answer.body
    assert seen(router, text) == 0


@pytest.mark.parametrize(
    ("field", "status"),
    [(b"Authorization: Bearer sk-proxy-\0" + HEX.encode(), 400), (b"Authorization: Bearer " + b"a" * 1_000_000, 431)],
    ids=["nul", "1-MB"],
)
def test_k03_what_is_no_header(router: Router, field: bytes, status: int) -> None:
    text = marker()
    body = chat_body(text)
    with dial(router) as line:
        line.send(request(b"POST /v1/chat/completions", field, b"Content-Length: %d" % len(body), body=body))
        assert line.answer().status == status
        assert line.closed()
    assert seen(router, text) == 0


@pytest.mark.parametrize("text", INJECTIONS, ids=["or", "drop", "percent", "operator", "encoded"])
def test_k05_injections_are_no_keys(router: Router, text: bytes) -> None:
    for name in (b"Authorization: Bearer ", b"Authorization: ", b"x-api-key: ", b"x-goog-api-key: "):
        answer = rejected(router, marker(), name + text)
        assert text not in answer.body
    path = b"POST /gemini/v1beta/models/gemini-2.5-flash:generateContent?key="
    encoded = b"".join(b"%%%02X" % byte for byte in text)
    answer = rejected(router, marker(), path=path + encoded)
    assert text not in answer.body
    _, key = router.create_key(name="still there")
    with dial(router) as line:
        line.send(chat_request(key, "hello"))
        assert line.answer().status == 200


@contextlib.contextmanager
def asleep(pid: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def lines_to_all_workers(router: Router) -> dict[int, Line]:
    """An open connection to each worker, by its process id."""
    found: dict[int, Line] = {}

    def complete() -> bool:
        line = dial(router)
        found.setdefault(worker_of(router, line), line)
        if line not in found.values():
            line.sock.close()
        return len(found) == 2

    eventually(complete, what="a connection to each worker")
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda router, key_id: router.api("DELETE", f"/v1/keys/{key_id}").raise_for_status(), "key_revoked"),
        (lambda router, key_id: router.edit(key_id, allowed_models=["o3*"]), "model_not_allowed"),
        (lambda router, key_id: router.edit(key_id, rate_limit_rpm=1), "rate_limited"),
    ],
    ids=["revoke", "models", "rate"],
)
def test_k10_a_worker_that_slept_through_an_edit_knows_it_when_it_wakes(
    router: Router, change: Callable[[Router, str], object], expected: str
) -> None:
    for turn in range(6):
        lines = lines_to_all_workers(router)
        key_id, key = router.create_key(name="slept through")
        for line in lines.values():
            line.send(chat_request(key, "before"))
            assert line.answer().status == 200
        router.wait_for_ledger(key_id, 2)  # so that no worker is stopped while it holds the database's lock
        pids = sorted(lines)
        sleeper, other = pids[turn % 2], pids[1 - turn % 2]
        text = marker()
        with asleep(sleeper):
            change(router, key_id)
            lines[sleeper].send(chat_request(key, text))
            lines[other].send(chat_request(key, text))
            assert lines[other].answer().code == expected
        assert lines[sleeper].answer().code == expected
        assert seen(router, text) == 0
        for line in lines.values():
            line.sock.close()


def test_k10_a_gemini_key_in_the_address_is_judged_anew_as_well(router: Router) -> None:
    """The version of a key is compared behind every door, not only behind the first header."""
    key_id, key = router.create_key(name="in the address")
    body = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
    path = b"POST /gemini/v1beta/models/gemini-2.5-flash:generateContent?key=" + key.encode()
    raw = request(path, b"Content-Length: %d" % len(body), body=body)
    lines = lines_to_all_workers(router)
    for line in lines.values():
        line.send(raw)
        assert line.answer().status == 200
    assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
    for line in lines.values():
        line.send(raw)
        assert line.answer().code == "key_revoked"
        line.send(request(b"GET /v1/key", bearer(key)))
        assert line.answer().code == "key_revoked"
        line.sock.close()
