"""A client's own label of a request, from its header to usage; it goes to no provider."""

import requests
from calls import MODEL, chat, code, marker, seen
from harness import Router, eventually

TAG = "x-router-tag"


def test_it_works(router: Router) -> None:
    key_id, key = router.create_key(name="labelled")
    label, text = f"größe {marker()}", marker()
    session = requests.Session()  # the second request of a connection finds what was learned of the first head
    for said in (label, label, None):
        headers = {"Authorization": f"Bearer {key}"} | ({} if said is None else {TAG: said.encode()})
        body = {"model": MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": text}]}
        answer = session.post(f"{router.proxy_url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
    assert all(TAG not in attempt["header_names"] for attempt in router.attempts(text, 3))
    router.wait_for_ledger(key_id, 3)
    by_label = router.api("GET", f"/v1/keys/{key_id}/usage?group_by=label").json()
    assert {line["label"]: line["requests"] for line in by_label["data"]} == {label: 2, "": 1}
    assert by_label["total"]["requests"] == 3
    found = router.api("GET", "/v1/requests", params={"label": label}).json()["data"]
    assert [(one["key_id"], one["label"]) for one in found] == [(key_id, label)] * 2
    assert router.run("-m", "flask", "--app", "wsgi", "ledger", "verify", "--key", key_id)


def test_one_that_cannot_be_kept_is_refused_in_each_dialect(router: Router) -> None:
    key_id, key = router.create_key(name="badly labelled", rate_limit_rpm=100)
    text = marker()
    for said in (b"", b"x" * 65, b"\xff\xfe", b"sk-ant-" + b"a1" * 20):
        answer = chat(router, key, text, headers={TAG: said.decode("latin-1")})
        assert (answer.status_code, code(answer)) == (400, "invalid_request"), answer.text
        assert answer.json()["error"]["param"] == TAG
        assert TAG in answer.json()["error"]["message"]
        assert "a1a1" not in answer.text
    body = {"model": "claude-sonnet-4-6", "max_tokens": 16, "messages": [{"role": "user", "content": text}]}
    url, headers = f"{router.proxy_url}/v1/messages", {"x-api-key": key, TAG: "x" * 65}
    answer = requests.post(url, json=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    url = f"{router.proxy_url}/gemini/v1beta/models/gemini-2.5-flash:generateContent"
    answer = requests.post(url, json=body, headers={"x-goog-api-key": key, TAG: "x" * 65}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert seen(router, text) == 0

    def counted() -> bool:
        told = router.api("GET", f"/v1/keys/{key_id}/refusals").json()["data"]
        return [(one["reason"], one["count"]) for one in told] == [("invalid_request", 6)]

    eventually(counted, what="the refusals")
