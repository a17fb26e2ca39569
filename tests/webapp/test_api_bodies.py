"""Bodies of the API: what is no JSON object, holds a name twice or a wrong type, or is sent where none is taken."""

from typing import Any

import pytest
from dashboard_kit import Api, field_errors
from flask import Flask
from forms_kit import count

from shared.keys import PROXY_TAG, mint
from shared.models import AuditEvent, ProxyKey


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b'{"name": "x"', 400, "invalid_json"),
        (b'{"name": NaN}', 400, "invalid_json"),
        (b'\xef\xbb\xbf{"name": "x"}', 400, "invalid_json"),
        ('{"name": "x"}'.encode("utf-16"), 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"name": "x", "name": "y"}', 422, "invalid"),
        (b"x" * 1_000_001, 413, "request_too_large"),
    ],
)
def test_bodies_that_are_no_object(api: Api, raw: bytes, status: int, code: str) -> None:
    response = api("POST", "/v1/keys", data=raw, content_type="application/json")
    assert (response.status_code, response.get_json()["code"]) == (status, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_content_types(api: Api, kind: str) -> None:
    response = api("POST", "/v1/keys", data='{"name": "x"}', content_type=kind)
    assert response.status_code == 415
    assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "document", "field"),
    [
        ("POST", "/v1/keys/{}/rotate", {"grace_seconds": "60"}, "grace_seconds"),
        ("POST", "/v1/keys/{}/check", {"max_tokens": "5"}, "max_tokens"),
        ("POST", "/v1/providers/openai/credentials", {"credential": "sk-of-a-test", "label": "b", "weight": "5"}, "weight"),
        ("POST", "/v1/providers/openai/credentials", {"credential": "sk-of-a-test", "label": "b", "priority": "1"}, "priority"),
        ("POST", "/v1/keys/{}/pause", {"foo": 1}, "foo"),
        ("POST", "/v1/keys/{}/resume", {"paused": True}, "paused"),
        ("DELETE", "/v1/keys/{}", {"dry_run": True}, "dry_run"),
    ],
)  # fmt: skip
def test_wrong_types_and_unknown_fields_write_nothing(
    api: Api, app: Flask, method: str, path: str, document: dict[str, object], field: str
) -> None:
    key_id = api.create()["id"]
    before = count(app, AuditEvent)
    assert list(field_errors(api(method, path.format(key_id), document))) == [field]
    assert count(app, AuditEvent) == before
    assert api("GET", f"/v1/keys/{key_id}").get_json()["status"] == "active"


def test_what_takes_no_body_takes_an_empty_one(api: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    ways: list[dict[str, Any]] = [
        {},
        {"json": {}},
        {"content_type": "application/json"},
        {"content_type": "text/plain"},
        {"data": "{}", "content_type": "application/x-www-form-urlencoded"},  # as curl sends it
        {"data": " { }\n"},
        {"data": "\n", "content_type": "application/json"},
    ]
    for more in ways:
        assert api("POST", f"{path}/pause", **more).get_json()["status"] == "paused"
        assert api("POST", f"{path}/rotate", **more).status_code == 200
    for data, kind, status in (
        ("resume it", "text/plain", 415),
        ("paused=false", "application/x-www-form-urlencoded", 415),
        ("{", "application/json", 400),
        ("[]", "application/json", 422),
        ('{"\\ud800": 1}', "application/json", 422),
    ):
        assert api("POST", f"{path}/resume", data=data, content_type=kind).status_code == status
    assert api("GET", path).get_json()["status"] == "paused"
    assert api("GET", path, data="whatever").status_code == 200
    assert api("DELETE", path, json={}).get_json()["status"] == "revoked"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('{"name": "x", "name": "y"}', {"name": "occurs twice"}),
        (
            '{"name": "x", "model_limits": [{"model": "a", "spend_limit_usd": 1}, {"model": "b", "model": "c", "spend_limit_usd": 1}]}',
            {"model_limits[1].model": "occurs twice"},
        ),
        (
            '{"name": "", "foo": 1, "rate_limit_rpm": "5", "rate_limit_rpm": "5", "a": {"b": [[{"c": 1, "c": 2}]]}, "paused": 1, "paused": false}',
            {
                "rate_limit_rpm": "must be a whole number, such as 60", "a.b[0][0].c": "occurs twice", "paused": "occurs twice",
                "name": "must not be empty", "foo": "is not a known field", "a": "is not a known field",
            },
        ),
    ],
)  # fmt: skip
def test_names_that_occur_twice_are_told_by_their_place_beside_all_other_faults(
    api: Api, app: Flask, raw: str, told: dict[str, str]
) -> None:
    """D7."""
    before = count(app, ProxyKey)
    assert field_errors(api("POST", "/v1/keys", data=raw, content_type="application/json")) == told
    assert count(app, ProxyKey) == before


def test_of_many_names_that_occur_twice_few_are_told(api: Api) -> None:
    """So that no body makes an answer far larger than itself."""
    deep = "".join(f'{{"{"n" * 60}":' for _ in range(300))
    raw = f'{deep}[{",".join(["""{"a":1,"a":1}"""] * 2_000)}]{"}" * 300}'
    answer = api("POST", "/v1/keys", data=raw, content_type="application/json")
    told = [fault for fault in answer.get_json()["errors"] if fault["message"] == "occurs twice"]
    assert (answer.status_code, len(told)) == (422, 100)
    assert max(len(fault["field"]) for fault in told) == 200


def test_a_secret_that_occurs_twice_is_not_repeated(api: Api) -> None:
    secret = mint(PROXY_TAG).raw
    answer = api("POST", "/v1/keys", data=f'{{"{secret}": 1, "{secret}": 2}}', content_type="application/json")
    assert answer.status_code == 422
    assert secret not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/v1/keys/{}"), ("POST", "/v1/keys/{}/rotate"), ("POST", "/v1/keys/{}/check"), ("POST", "/v1/keys/bulk"),
        ("PATCH", "/v1/organization"), ("PATCH", "/v1/alerts"), ("POST", "/v1/members"), ("POST", "/v1/invitations"), ("POST", "/v1/tokens"),
        ("POST", "/v1/webhooks"), ("POST", "/v1/providers"), ("PUT", "/v1/providers/openai/credential"), ("PUT", "/v1/prices/openai/gpt-4o"),
        ("POST", "/v1/keys/{}/pause"), ("PATCH", "/v1/keys/{}/alerts"), ("POST", "/v1/keys/{}/hand-overs"),
    ],
)  # fmt: skip
def test_nothing_is_written_of_what_occurs_twice(api: Api, app: Flask, method: str, path: str) -> None:
    """Also where the same name once would be no fault."""
    key_id = api.create()["id"]
    before = count(app, AuditEvent)
    raw = '{"name": "y", "name": "z", "grace_seconds": 0, "grace_seconds": 0, "model": "a", "model": "a"}'
    told = field_errors(api(method, path.format(key_id), data=raw, content_type="application/json"))
    assert {"name", "grace_seconds", "model"} <= set(told)
    assert "\0" not in told
    assert count(app, AuditEvent) == before
