"""An edit or a revocation holds for the first request that starts after its answer was sent, on every worker."""

import itertools
import time
from datetime import UTC, datetime

import pytest
import requests
from calls import MODEL, chat, code
from harness import Router

TRIALS = 2_000


class Wires:
    """Keep-alive connections to the proxy; new ones until both workers have served one."""

    def __init__(self, router: Router, count: int = 8) -> None:
        self._router = router
        self.sessions = [requests.Session() for _ in range(count)]

    def ask(self, number: int, key: str, model: str = MODEL) -> requests.Response:
        return self.sessions[number % len(self.sessions)].post(
            f"{self._router.proxy_url}/v1/chat/completions",
            json={"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )


@pytest.mark.slow
def test_two_thousand_edits_and_not_one_late(router: Router) -> None:
    key_id, key = router.create_key(name="flipped")
    wires = Wires(router)
    for number in range(len(wires.sessions)):
        assert wires.ask(number, key).status_code == 200
    misses = []
    states = itertools.cycle([(["anthropic"], "provider_not_allowed"), ([], None)])
    for trial in range(TRIALS):
        providers, expected = next(states)
        router.edit(key_id, allowed_providers=providers)
        answer = wires.ask(trial * 3 + trial // 8, key)
        if code(answer) != expected:
            misses.append((trial, code(answer)))
    assert misses == []


def test_a_revocation_holds_for_the_next_request_of_every_open_connection(router: Router) -> None:
    for _ in range(20):
        key_id, key = router.create_key(name="revoked")
        wires = Wires(router)
        for number in range(8):
            assert wires.ask(number, key).status_code == 200
        assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
        assert [code(wires.ask(number, key)) for number in range(8)] == ["key_revoked"] * 8


def test_an_edit_holds_for_what_is_told_of_a_model_that_nobody_serves(router: Router) -> None:
    """No such request is admitted, so that no counter tells the worker of the edit."""
    key_id, key = router.create_key(name="asks for nobody's", allowed_models=["o3"])
    wires = Wires(router)
    for models, expected in ((["o3"], "model_not_allowed"), ([], "invalid_request"), (["o3"], "model_not_allowed")):
        router.edit(key_id, allowed_models=models)
        assert [code(wires.ask(number, key, "nobodys")) for number in range(8)] == [expected] * 8


@pytest.mark.parametrize(
    ("field", "closed", "expected", "opened"),
    [
        ("allowed_providers", ["gemini"], "provider_not_allowed", []),
        ("allowed_models", ["o3*"], "model_not_allowed", ["gpt-4o*"]),
        ("allowed_ips", ["192.0.2.0/24"], "ip_blocked", ["127.0.0.1"]),
        ("rate_limit_rpm", 1, "rate_limited", None),
        ("spend_limit_usd", "0", "spend_exceeded", "5"),
        ("paused", True, "key_paused", False),
    ],
)
def test_each_field_takes_effect_on_the_next_request(
    router: Router, field: str, closed: object, expected: str, opened: object
) -> None:
    key_id, key = router.create_key(name="edited")
    for _ in range(5):
        assert chat(router, key).status_code == 200
        router.edit(key_id, **{field: closed})
        assert code(chat(router, key)) == expected
        router.edit(key_id, **{field: opened})
    assert chat(router, key).status_code == 200


def test_a_rotated_secret_dies_at_the_end_of_its_grace_on_every_worker(router: Router) -> None:
    """Until then both open the key, and both go by its one limit; a rotation without grace ends all others at once."""
    key_id, old = router.create_key(name="rotated", rate_limit_rpm=100_000)
    wires = Wires(router)
    for number in range(8):
        assert wires.ask(number, old).status_code == 200
    rotated = router.api("POST", f"/v1/keys/{key_id}/rotate", json={"grace_seconds": 2}).json()
    end = datetime.fromisoformat(rotated["secrets"][1]["valid_until"]).timestamp()
    asked, late, early = 0, [], []
    while (begun := time.time()) < end + 0.3:
        answer = wires.ask(asked, old)
        if begun >= end and code(answer) != "invalid_proxy_key":
            late.append((begun - end, answer.status_code))
        if time.time() < end and answer.status_code != 200:
            early.append((begun - end, code(answer)))
        assert wires.ask(asked, rotated["key"]).status_code == 200
        asked += 1
    assert (late, early) == ([], [])
    assert [code(wires.ask(number, old)) for number in range(8)] == ["invalid_proxy_key"] * 8
    newest = router.api("POST", f"/v1/keys/{key_id}/rotate", json={"grace_seconds": 0}).json()["key"]
    assert [code(wires.ask(number, rotated["key"])) for number in range(8)] == ["invalid_proxy_key"] * 8
    for path in ("/v1/models", "/v1/key"):
        for key, status in ((rotated["key"], 401), (newest, 200)):
            headers = {"Authorization": f"Bearer {key}"}
            assert requests.get(router.proxy_url + path, headers=headers, timeout=10).status_code == status
    assert wires.ask(0, newest).status_code == 200


def test_a_raise_ends_at_its_instant_on_every_worker(router: Router) -> None:
    """It holds from the answer to its edit on, ends without another one, and is told as long as it runs."""
    key_id, key = router.create_key(name="raised", spend_limit_usd="0")
    wires = Wires(router)
    assert [code(wires.ask(number, key)) for number in range(8)] == ["spend_exceeded"] * 8
    end = time.time() + 3
    until = datetime.fromtimestamp(end, UTC).isoformat()
    router.edit(key_id, spend_limit_boost_usd="5", spend_limit_boost_until=until)
    about = requests.get(f"{router.proxy_url}/v1/key", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    told = about.json()
    names = ("spend_limit_usd", "spend_limit_boost_usd")
    assert [*(told[name] for name in names), told["spend"]["limit_usd"]] == ["0.00", "5.00", "5.00"]
    assert datetime.fromisoformat(told["spend_limit_boost_until"]).timestamp() == pytest.approx(end, abs=1e-5)
    assert about.headers["X-Spend-Limit"] == "5.00"
    asked, late, early = 0, [], []
    while (begun := time.time()) < end + 0.2:
        answer = wires.ask(asked, key)
        if begun >= end and code(answer) != "spend_exceeded":
            late.append((begun - end, answer.status_code))
        if time.time() < end and answer.status_code != 200:
            early.append((begun - end, code(answer)))
        asked += 1
    assert (late, early) == ([], [])
    refused = [wires.ask(number, key) for number in range(8)]
    assert {(code(answer), answer.headers["X-Spend-Limit"]) for answer in refused} == {("spend_exceeded", "0.00")}
    shown = router.api("GET", f"/v1/keys/{key_id}").json()
    assert [*(shown[name] for name in names), shown["spend"]["limit_usd"]] == ["0.00", None, "0.00"]
