"""Test connection by the dashboard as it is served: whom it asks, and that it waits for nobody without end."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Router, eventually
from raw_http import Ended, Heard, Line, ScriptedProvider

from webapp import serving

pytestmark = pytest.mark.e2e


@pytest.fixture
def of_its_own(lab: Router) -> Iterator[None]:
    """A credential for OpenAI that is not the sandbox's, which goes nowhere."""
    path = "/v1/providers/openai/credential"
    assert lab.api("PUT", path, json={"credential": "sk-of-nobody-at-all"}).status_code == 200
    yield
    assert lab.api("PUT", path, json={"credential": lab.credentials["openai"]}).status_code == 200


def test_it_works(lab: Router, provider: ScriptedProvider, of_its_own: None) -> None:
    def script(line: Line, _: Heard) -> None:
        line.send(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"data": []}')
        raise Ended

    provider.play(script)
    told = lab.api("POST", "/v1/providers/openai/test").json()
    assert (told["ok"], told["status"]) == (True, 200), told


def test_the_sandboxs_credential_goes_nowhere(router: Router) -> None:
    told = router.api("POST", "/v1/providers/openai/test").json()
    assert (told["ok"], told["status"]) == (True, None)
    assert "it was not asked" in told["message"]


def test_a_provider_that_drips_holds_nobody_up(lab: Router, provider: ScriptedProvider, of_its_own: None) -> None:
    """Each byte of its head comes in time, so no deadline of a single read would ever end it."""
    over, asked = threading.Event(), threading.Event()

    def script(line: Line, _: Heard) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        asked.set()
        while not over.wait(0.2):
            line.send(b"x")
        raise Ended

    provider.play(script)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(lab.api, "POST", "/v1/providers/openai/test")
        try:
            eventually(asked.is_set, what="the question to the provider")
            while not waiting.done():
                before = time.monotonic()
                assert lab.api("GET", "/v1/organization").status_code == 200
                assert time.monotonic() - before < 2
                over.wait(0.25)
            told = waiting.result().json()
        finally:
            over.set()
    assert serving.CALL_SECONDS - 1 < time.monotonic() - began < serving.CALL_SECONDS + 5
    assert (told["ok"], told["status"]) == (False, None)
    assert "within 10 seconds" in told["message"]
