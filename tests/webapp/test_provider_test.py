"""Whether a provider takes a credential: asked of the sandbox, and of servers that answer oddly or not at all."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.catalog import PROVIDERS
from webapp.provider_test import Outcome, try_connection

SECRET = "sk-ant-of-a-provider-4711-and-more"
Answers = Callable[..., str]


class Server(ThreadingHTTPServer):
    """Answers whatever it is asked with one answer, and remembers what it was asked."""

    answer: tuple[int, bytes, dict[str, str]]
    asked: list[tuple[str, dict[str, str]]]


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers.items())))
        status, body, headers = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        del format, args


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), _Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def answers(server: Server) -> Answers:
    """`answers(status, body, **headers)`: what is answered from now on; the base URL to ask at."""

    def answers(status: int, body: object, **headers: str) -> str:
        server.asked.clear()
        server.answer = status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers
        return f"http://127.0.0.1:{server.server_address[1]}"

    return answers


def asked(slug: str, url: str, credential: str = SECRET, **more: Any) -> Outcome:
    outcome = try_connection(PROVIDERS[slug], url, credential, **more)
    assert credential not in repr(outcome)
    return outcome


@pytest.mark.parametrize("slug", PROVIDERS)
def test_it_works(sandbox_url: str, slug: str) -> None:
    outcome = asked(slug, sandbox_url, "sandbox-credential")
    assert (outcome.ok, outcome.status) == (True, 200), outcome
    assert outcome.message == f"{PROVIDERS[slug].label} answers and takes the credential."
    refused = asked(slug, sandbox_url)
    assert (refused.ok, refused.status) == (False, 401)
    assert "refuses the credential (401): The API key is not valid here" in refused.message


def test_it_asks_as_the_provider_wants_it(server: Server, answers: Answers) -> None:
    url = answers(200, {"data": []})
    assert asked("openai", f"{url}/").ok
    assert asked("anthropic", url).ok
    assert not asked("gemini", url).ok
    (openai, first), (anthropic, second), (gemini, third) = server.asked
    assert (openai, first["authorization"]) == ("/v1/models", f"Bearer {SECRET}")
    assert (anthropic, second["x-api-key"], second["anthropic-version"]) == ("/v1/models?limit=1", SECRET, "2023-06-01")
    assert (gemini, third["x-goog-api-key"]) == ("/v1beta/models?pageSize=1", SECRET)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"error": {"message": "Incorrect API key."}}, "refuses the credential (401): Incorrect API key."),
        (403, {"error": {"message": "Country not supported"}}, "refuses the credential (403): Country not supported"),
        (400, [{"error": {"message": "API key not valid."}}], "refuses the credential (400): API key not valid."),
        (429, {"error": {"message": "No funds."}}, "knows the credential, and takes no more requests of it"),
        (400, {"error": "Strange."}, "refuses the question (400): Strange."),
        (503, b"<html>", "fails at the moment (503)."),
        (404, b"", "has no list of models (404)."),
        (302, b"", "redirects elsewhere (302)."),
        (200, b"<html>", "not as OpenAI does"),
        (200, {"data": "x"}, "not as OpenAI does"),
        (200, b"[" * 100_000, "not as OpenAI does"),
    ],
)
def test_each_answer_has_its_words(answers: Answers, status: int, body: object, words: str) -> None:
    outcome = asked("openai", answers(status, body, Location="http://127.0.0.1:9/elsewhere"))
    assert (outcome.ok, outcome.status) == (False, status)
    assert words in outcome.message
    assert outcome.server_time is not None


def test_the_credential_is_told_to_nobody(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    """Neither where the provider repeats it, nor in a log; and no proxy of the environment is shown it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    caplog.set_level(logging.DEBUG)
    url = answers(401, {"error": {"message": f"{SECRET} is wrong, and so is {SECRET}.\x1b[31m {'x' * 1000}"}})
    outcome = asked("anthropic", url)
    assert "[secret] is wrong, and so is [secret]." in outcome.message
    assert "\x1b" not in outcome.message
    assert len(outcome.message) < 310
    assert SECRET not in caplog.text
    assert len(server.asked) == 1
    assert "no header carries" in asked("openai", url, "sk-\nbroken").message
    assert "no header carries" in asked("openai", url, "sk-ü").message
    assert len(server.asked) == 1


def test_a_compressed_answer_is_read_within_bounds(answers: Answers) -> None:
    import gzip

    url = answers(200, gzip.compress(b'{"more": ["' + b"x" * 20_000_000 + b'"]}'), **{"Content-Encoding": "gzip"})
    assert "not as OpenAI does" in asked("openai", url).message
    url = answers(200, gzip.compress(b'{"data": []}'), **{"Content-Encoding": "gzip"})
    assert asked("openai", url).ok


def test_what_does_not_answer_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        outcome = asked("openai", url, timeout_seconds=0.2)
        assert outcome == Outcome(
            ok=False, message=f"OpenAI does not answer at {url} within 0.2 seconds.", seconds=outcome.seconds
        )
        assert "may not speak TLS" in _broken(silent)
    assert "connection refused" in asked("openai", url).message
    assert "not known to the resolver" in asked("openai", "http://nowhere.invalid").message
    assert "no address that can be asked" in asked("openai", "ftp://127.0.0.1").message
    assert "no address that can be asked" in asked("openai", "http://").message


def _broken(listener: socket.socket) -> str:
    """What is said of a server that answers a TLS handshake with something else."""

    def answer() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(1) == b"\x16":  # a handshake; before it stands what the test above left behind
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    connection.recv(4096)
                    return

    thread = threading.Thread(target=answer)
    thread.start()
    told = asked("openai", f"https://127.0.0.1:{listener.getsockname()[1]}").message
    thread.join(timeout=10)
    return told
