"""Input that is refused: named field by field, with nothing written."""

import pytest
from dashboard_kit import Api, field_errors
from flask import Flask
from forms_kit import count

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, mint
from shared.models import AuditEvent, IdempotentCreation, ProxyKey


def test_it_works(api: Api, app: Flask) -> None:
    before = count(app, ProxyKey)
    api.create(name="x")
    assert count(app, ProxyKey) == before + 1


BAD = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "   "}, "name"),
    ({"name": "x" * 81}, "name"),
    ({"name": "a\x00b"}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "\ud800"}, "name"),
    ({"name": 5}, "name"),
    ({"name": None}, "name"),
    ({"name": "x", "allowed_providers": "openai"}, "allowed_providers"),
    ({"name": "x", "allowed_providers": ["nosuch"]}, "allowed_providers"),
    ({"name": "x", "allowed_models": ["gpt-[4]"]}, "allowed_models"),
    ({"name": "x", "allowed_models": [""]}, "allowed_models"),
    ({"name": "x", "allowed_models": ["mistral/*"]}, "allowed_models"),
    ({"name": "x", "allowed_models": {"a": 1}}, "allowed_models"),
    ({"name": "x", "allowed_models": ["openai/"]}, "allowed_models"),
    ({"name": "x", "allowed_models": [4]}, "allowed_models"),
    ({"name": "x", "allowed_models": ["a"] * 201}, "allowed_models"),
    ({"name": "x", "allowed_ips": ["10.0.0.1/8"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": ["10.0.0.0/0.255.255.255"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": ["010.0.0.1"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": ["fe80::1%eth0"]}, "allowed_ips"),
    ({"name": "x", "rate_limit_rpm": -1}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": 0}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": 1.5}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": True}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": "60"}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": 2**63}, "rate_limit_rpm"),
    ({"name": "x", "spend_limit_usd": -1}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "-0.01"}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "1e3"}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "9007199.254740992"}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": False}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "0.0000000001"}, "spend_limit_usd"),
    ({"name": "\u200b\u202e"}, "name"),
    ({"name": "x", "spend_reset": "yearly"}, "spend_reset"),
    ({"name": "x", "expires_at": "2026-11-24T12:00:00Z"}, "expires_at"),
    ({"name": "x", "expires_at": "2027-01-01"}, "expires_at"),
    ({"name": "x", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
    ({"name": "x", "expires_at": "2027-02-30T00:00:00Z"}, "expires_at"),
    ({"name": "x", "expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
    ({"name": "x", "expires_at": 1800000000}, "expires_at"),
    ({"name": "x", "paused": "true"}, "paused"),
    ({"name": "x", "paused": 1}, "paused"),
    ({"name": "x", "org_id": "org_other"}, "org_id"),
    ({"name": "x", "created_by": "me"}, "created_by"),
    ({"name": "x", "spend": {"spent_usd": "0"}}, "spend"),
    ({"name": "x", "nmae": "x"}, "nmae"),
]


@pytest.mark.parametrize(("document", "field"), BAD)
def test_nonsense_is_named_and_nothing_is_written(
    api: Api, app: Flask, document: dict[str, object], field: str
) -> None:
    before = [count(app, model) for model in (ProxyKey, AuditEvent)]
    assert list(field_errors(api("POST", "/v1/keys", document))) == [field]
    assert [count(app, model) for model in (ProxyKey, AuditEvent)] == before


def test_a_bad_range_is_named(api: Api) -> None:
    message = field_errors(api("POST", "/v1/keys", {"name": "x", "allowed_ips": ["10.0.0.0/8", "10.0.0.1/8"]}))
    assert message == {"allowed_ips": "'10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"}


def test_a_rate_of_zero_is_refused_and_the_message_points_to_paused(api: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    for response in (
        api("POST", "/v1/keys", {"name": "x", "rate_limit_rpm": 0}),
        api("PATCH", path, {"rate_limit_rpm": 0}),
    ):
        assert "set paused" in field_errors(response)["rate_limit_rpm"]
    assert api("PATCH", path, {"rate_limit_rpm": 1}).get_json()["rate_limit_rpm"] == 1


def test_all_errors_come_at_once(api: Api) -> None:
    """D7: of a list, every bad line; the text for people names them all as well."""
    document = {
        "rate_limit_rpm": -1,
        "x": 1,
        "allowed_ips": ["10.0.0.1/8", "::1", "here"],
        "allowed_models": ["[abc]", "gpt-4o", "mistral/x"],
        "expires_at": "2020-01-01T00:00:00Z",
    }
    response = api("POST", "/v1/keys", document, headers={"Idempotency-Key": ""})
    errors = [(error["field"], error["message"]) for error in response.get_json()["errors"]]
    assert [field for field, _ in errors if field not in ("allowed_ips", "allowed_models")] == [
        "Idempotency-Key", "rate_limit_rpm", "expires_at", "name", "x",
    ]  # fmt: skip
    assert [message.split("'")[1] for field, message in errors if field == "allowed_ips"] == ["10.0.0.1/8", "here"]
    assert [message.split("'")[1] for field, message in errors if field == "allowed_models"] == ["[abc]", "mistral/x"]
    detail = response.get_json()["detail"]
    assert all(word in detail for word in ("10.0.0.1/8", "here", "[abc]", "must be in the future", "-1"))


SECRETS = [
    mint(PROXY_TAG).raw,
    mint(MANAGEMENT_TAG).raw,
    mint(PROXY_TAG).raw[:40],
    mint(PROXY_TAG).raw.upper(),
    "sk-ant-api03-" + "aB3_-" * 18,
    "sk-proj-" + "aB3_-" * 30,
    "sk-" + "aB3x" * 12,
    "AIza" + "Sy-_b" * 7,
    "ghp_" + "a1B2" * 9,
    "".join(chr(ord(letter) + 0xFEE0) for letter in "AIzaSyD") + "x9" * 15,  # full-width letters
    "-----BEGIN PRIVATE KEY-----",
    "prod_sk-ant-api03-" + "aB3_-" * 18,
    mint(PROXY_TAG).raw.replace("-", "\u2010"),
    mint(PROXY_TAG).raw.removeprefix(PROXY_TAG),
    "fw_" + "3Za9" * 6,
]


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_no_free_text_takes_a_secret_or_repeats_it(api: Api, app: Flask, secret: str) -> None:
    """D2, S5."""
    before = [count(app, model) for model in (ProxyKey, AuditEvent, IdempotentCreation)]
    path = f"/v1/keys/{api.create()['id']}"
    for document, field in (
        ({"name": f"key of {secret}"}, "name"),
        ({"name": "x", "allowed_models": ["gpt-4o", secret]}, "allowed_models"),
        ({"name": "x", "allowed_models": [f"openai/{secret}*"]}, "allowed_models"),
        ({"name": "x", "allowed_ips": [secret]}, "allowed_ips"),
        ({"name": "x", "allowed_providers": [secret]}, "allowed_providers"),
    ):
        for response in (api("POST", "/v1/keys", document), api("PATCH", path, document)):
            assert set(field_errors(response)) == {field}
            assert secret not in response.get_data(as_text=True)
    response = api("POST", "/v1/keys", {"name": "x", secret: 1})
    assert response.status_code == 422
    assert secret not in response.text
    if secret.isascii():
        response = api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": secret})
        assert set(field_errors(response)) == {"Idempotency-Key"}
        assert secret not in response.text
    after = [count(app, model) for model in (ProxyKey, AuditEvent, IdempotentCreation)]
    assert after == [before[0] + 1, before[1] + 1, before[2]]


@pytest.mark.parametrize(
    "secret", ["sk-proj-" + "aB3x" * 10, "prod_sk-ant-api03-" + "aB3_-" * 8, "AKIA" + "ABCD1234" * 2]
)
def test_nobody_and_nothing_is_called_by_a_secret(api: Api, app: Flask, secret: str) -> None:
    """An email names somebody wherever it is told what they did."""
    before = count(app, AuditEvent)
    for method, path, document, field in (
        ("POST", "/v1/members", {"email": f"{secret}@x.example"}, "email"),
        ("POST", "/v1/members", {"email": f"ada@{secret}"}, "email"),
        ("POST", "/v1/invitations", {"email": f"{secret}@x.example"}, "email"),
        ("PATCH", "/v1/organization", {"name": f"of {secret}"}, "name"),
        ("POST", "/v1/tokens", {"name": f"x_{secret}", "scopes": ["keys:read"]}, "name"),
        ("POST", "/v1/keys", {"name": "x", "owner_email": f"{secret}@x.example"}, "owner_email"),
        ("POST", "/v1/keys", {"name": "x", "tags": [secret]}, "tags"),
        ("POST", "/v1/keys", {"name": "x", "note": f"it is\n{secret}"}, "note"),
        ("PUT", f"/v1/prices/openai/{secret}", {"rates": {"input_tokens": "1", "output_tokens": "1"}}, "model"),
    ):
        response = api(method, path, document)
        assert list(field_errors(response)) == [field], path
        assert secret not in response.text
    assert count(app, AuditEvent) == before


@pytest.mark.parametrize(
    "name", ["sk-proxy-a1b2", "sk-test", "AIza", "task-force-of-the-north-wing-and-more", "risk-" * 10]
)
def test_a_prefix_and_plain_words_are_no_secrets(api: Api, name: str) -> None:
    assert api.create(name=name)["name"] == name


@pytest.mark.parametrize(
    ("number", "usd"),
    [("0.1", "0.10"), ("20", "20.00"), ("1e1", "10.00"), ("0", "0.00"), ("9007199.254740991", "9007199.254740991")],
)
def test_numbers_are_read_from_their_text(api: Api, number: str, usd: str) -> None:
    raw = f'{{"name": "x", "spend_limit_usd": {number}}}'
    response = api("POST", "/v1/keys", data=raw, content_type="application/json")
    assert response.get_json()["spend_limit_usd"] == usd


@pytest.mark.parametrize("number", ["1e999999999", "-0.5", "9007199.254740992", "1" * 5000, "1e-10"])
def test_numbers_out_of_bounds(api: Api, number: str) -> None:
    raw = f'{{"name": "x", "spend_limit_usd": {number}}}'
    assert set(field_errors(api("POST", "/v1/keys", data=raw, content_type="application/json"))) == {"spend_limit_usd"}
