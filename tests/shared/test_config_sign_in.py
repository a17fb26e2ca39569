"""The settings of logging in: what goes together, what shuts everybody out, and which role groups give."""

from pathlib import Path

import pytest

from shared.config import SettingError, Settings, SignIn

ISSUER = {"ROUTER_OIDC_ISSUER": "https://id.example.com/realms/staff/"}
PROVIDER = {**ISSUER, "ROUTER_OIDC_CLIENT_ID": "router", "ROUTER_OIDC_CLIENT_SECRET": "a-secret-of-the-provider"}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"ROUTER_DATA_DIR": str(tmp_path / "data")}


def provider(env: dict[str, str], **more: str) -> SignIn:
    found = Settings.from_env({**env, **PROVIDER, **more}).sign_in
    assert found is not None
    return found


def test_it_works(env: dict[str, str], tmp_path: Path) -> None:
    settings = Settings.from_env(env)
    assert (settings.sign_in, settings.password_login) == (None, True)
    (tmp_path / "secret").write_text("from-a-file\n")
    environ = {**env, **PROVIDER, "ROUTER_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    environ.pop("ROUTER_OIDC_CLIENT_SECRET")
    found = Settings.from_env({**environ, "ROUTER_OIDC_ROLES": " /platform = admin ,a=b=viewer"}).sign_in
    assert found is not None
    assert found.issuer == ISSUER["ROUTER_OIDC_ISSUER"]
    assert (found.client_id, found.client_secret) == ("router", "from-a-file")
    assert (found.scopes, found.groups_claim) == ("openid email profile", "groups")
    assert found.roles == {"/platform": "admin", "a=b": "viewer"}
    assert "from-a-file" not in repr(found)


@pytest.mark.parametrize(
    ("groups", "role"),
    [((), None), (("x",), None), (("c", "b"), "member"), (("b", "a", "x"), "admin"), (("c",), "viewer")],
)
def test_the_highest_role_of_the_groups(env: dict[str, str], groups: tuple[str, ...], role: str | None) -> None:
    roles = {"ROUTER_OIDC_ROLES": "a=admin,b=member,c=viewer"}
    assert provider(env, **roles).role_of(groups) == role
    assert provider(env, **roles, ROUTER_OIDC_DEFAULT_ROLE="viewer").role_of(groups) == (role or "viewer")


def test_what_everybody_must_have(env: dict[str, str]) -> None:
    assert provider(env).required_claims == {}
    told = provider(env, ROUTER_OIDC_REQUIRED_CLAIMS="hd=a.example, hd = b.example,org.tier=x=y").required_claims
    assert told == {"hd": ("a.example", "b.example"), "org.tier": ("x=y",)}


@pytest.mark.parametrize(
    ("more", "name", "words"),
    [
        ({"ROUTER_OIDC_ISSUER": "http://id.example.com"}, "ROUTER_OIDC_ISSUER", "https"),
        ({"ROUTER_OIDC_ISSUER": "http://10.0.0.1"}, "ROUTER_OIDC_ISSUER", "https"),
        (
            {"ROUTER_OIDC_ISSUER": "https://id/.well-known/openid-configuration"},
            "ROUTER_OIDC_ISSUER",
            "must end before",
        ),
        (ISSUER, "ROUTER_OIDC_ISSUER", "ROUTER_OIDC_CLIENT_ID is not"),
        ({"ROUTER_OIDC_CLIENT_ID": "router"}, "ROUTER_OIDC_CLIENT_ID", "ROUTER_OIDC_ISSUER is not"),
        ({"ROUTER_PASSWORD_LOGIN": "off"}, "ROUTER_PASSWORD_LOGIN", "nobody could log in"),
        (
            {**PROVIDER, "ROUTER_PASSWORD_LOGIN": "off", "ROUTER_OIDC_ROLES": "staff=member"},
            "ROUTER_PASSWORD_LOGIN",
            "nobody an administrator",
        ),
        ({**PROVIDER, "ROUTER_OIDC_ROLES": "staff=member,staff=admin"}, "ROUTER_OIDC_ROLES", "two roles"),
        (
            {**PROVIDER, "ROUTER_OIDC_ISSUER": "https://accounts.google.com", "ROUTER_OIDC_DEFAULT_ROLE": "viewer"},
            "ROUTER_OIDC_DEFAULT_ROLE",
            "which is anybody",
        ),
    ],
)
def test_what_cannot_work_is_told(env: dict[str, str], more: dict[str, str], name: str, words: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} ") as caught:
        Settings.from_env({**env, **more})
    assert words in str(caught.value)
    assert PROVIDER["ROUTER_OIDC_CLIENT_SECRET"] not in str(caught.value)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://accounts.google.com", "https://accounts.google.com/", "https://ACCOUNTS.google.com", "https://accounts.google.com:443",
        "https://accounts.google.com.", "https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/Consumers/v2.0",
        "https://login.microsoftonline.com/organizations/v2.0", "https://gitlab.com", "https://appleid.apple.com",
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", "https://www.linkedin.com/oauth",
    ],
)  # fmt: skip
def test_where_anybody_has_an_account_a_default_role_needs_a_claim(env: dict[str, str], issuer: str) -> None:
    more = {**PROVIDER, "ROUTER_OIDC_ISSUER": issuer, "ROUTER_OIDC_DEFAULT_ROLE": "viewer"}
    for claims in ("", "email_verified=true", f"iss={issuer},aud=router", "tid=9188040d-6c67-4c5b-b112-36a304b66dad"):
        with pytest.raises(SettingError, match=r"^ROUTER_OIDC_DEFAULT_ROLE would let in whoever has an account"):
            Settings.from_env({**env, **more, "ROUTER_OIDC_REQUIRED_CLAIMS": claims})
    assert provider(env, **more, ROUTER_OIDC_REQUIRED_CLAIMS="email_verified=true,hd=a.example").issuer == issuer
    assert provider(env, **{**more, "ROUTER_OIDC_DEFAULT_ROLE": ""}).default_role is None


@pytest.mark.parametrize(
    "more",
    [
        {"ROUTER_OIDC_ISSUER": "http://localhost:8000"}, {"ROUTER_OIDC_ISSUER": "http://[::1]:8000/x"}, {"ROUTER_PASSWORD_LOGIN": "off"},
        {"ROUTER_PASSWORD_LOGIN": "off", "ROUTER_OIDC_ROLES": "a=viewer", "ROUTER_OIDC_DEFAULT_ROLE": "admin"},
        {"ROUTER_PASSWORD_LOGIN": "off", "ROUTER_OIDC_ROLES": "a=viewer,b=admin"}, {"ROUTER_OIDC_CLIENT_SECRET": ""},
        {"ROUTER_OIDC_ISSUER": "https://accounts.google.com/"},
        {"ROUTER_OIDC_ISSUER": "https://login.microsoftonline.com/8e1d2c3b-0000-4000-8000-000000000000/v2.0", "ROUTER_OIDC_DEFAULT_ROLE": "viewer"},
        {"ROUTER_OIDC_ISSUER": "https://gitlab.example.com", "ROUTER_OIDC_DEFAULT_ROLE": "viewer"},
        {"ROUTER_OIDC_GROUPS_CLAIM": "https://example.com/groups", "ROUTER_OIDC_REQUIRED_CLAIMS": "https://example.com/tier=x"},
        {"ROUTER_OIDC_ISSUER": "https://accounts.google.com", "ROUTER_OIDC_DEFAULT_ROLE": "viewer", "ROUTER_OIDC_REQUIRED_CLAIMS": "hd=a.example"},
    ],
)  # fmt: skip
def test_what_can_work(env: dict[str, str], more: dict[str, str]) -> None:
    assert provider(env, **more).client_id == "router"
