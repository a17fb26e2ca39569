"""Several credentials beside what else is done with a request: translation, labels, and limits of requests at once."""

from gateway_kit import CHAT, GOOD, LIMITED, REFUSED, Gate, Provider, tries_of

MESSAGES = "/v1/messages"  # which an OpenAI model answers through chat completions
LABELLED = ((b"x-router-tag", b"team a"),)


def test_it_works(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(REFUSED)
    gate.store(GOOD, "second", priority=2)
    answer = gate.ask(CHAT, path=MESSAGES, more=LABELLED)
    assert (answer.status, answer.json["type"]) == (200, "message"), answer.body
    assert answer.headers["x-router-attempts"] == "2"
    served, dropped = gate.rows()
    assert tries_of(served.tried) == [("default", "refused"), ("second", None)]
    assert (served.label, dropped.label) == ("team a", "team a")
    assert (served.endpoint, dropped.endpoint) == ("/v1/chat/completions", "/v1/chat/completions")
    assert gate.router.spent(gate.key_id) == (provider.total_nanos, 0)
    # Both were one request: it was in flight once, and is not any more.
    assert gate.worker.counters.rows([gate.key_id])[gate.key_id].in_flight == 0
    assert gate.told[0][0] == "default"


def test_the_last_error_is_translated_without_any_credential(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    gate.store("sandbox-answers-429-credential-0009", "second", priority=2)
    answer = gate.ask(CHAT, path=MESSAGES)
    assert (answer.status, answer.json["type"]) == (429, "error"), answer.body
    assert b"[provider credential]" in answer.body
    assert b"sandbox-answers" not in answer.body
    assert len(provider.seen) == 2
    assert [row.label for row in gate.rows()] == [None, None]
