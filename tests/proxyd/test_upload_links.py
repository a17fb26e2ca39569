"""Links to the second step of an upload: led through the router, good for one key, one address and two days."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from request_kit import Untouched

from proxyd.gateway.destinations import Target
from proxyd.gateway.route import find_route
from proxyd.gateway.upload_links import LIFETIME_SECONDS, PARAMETER, UploadLinks
from proxyd.messages import Header, Request
from shared import keys
from shared.policy import Deny

KEY, OTHER = keys.mint(keys.PROXY_TAG), keys.mint(keys.PROXY_TAG)
GIVEN = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=AbC-1_x&upload_protocol=resumable"
NOW = 1_800_000_000


def asked(path: str = "/upload/v1beta/files", query: str = "", *headers: Header, peer: str = "192.0.2.1") -> Request:
    head = ((b"host", b"router.test:8080"), *headers)
    return Request("POST", path, query, head, Untouched(peer), Untouched())


def links(*secrets: str, now: float = NOW) -> UploadLinks:
    return UploadLinks(secrets or ("secret",), (ip_network("10.0.0.0/8"),), now=lambda: now)


def link_of(request: Request, given: str = GIVEN, base: str = "") -> str:
    (name, value), kept = links().rewritten(
        [(b"x-goog-upload-url", given.encode()), (b"x-a", b"1")], request, KEY.digest, base
    )
    assert (name, kept) == (b"x-goog-upload-url", (b"x-a", b"1"))
    return value.decode()


def opened(link: str, *headers: Header, by: UploadLinks | None = None) -> tuple[str | Deny, str]:
    """What the second request's link says, and the query that goes on."""
    path, _, query = link.removeprefix("http://router.test:8080").partition("?")
    route = find_route("POST", path)
    assert isinstance(route, Target)
    request = asked(path, query, *headers)
    return (by or links()).opened(request, route), request.query


@pytest.mark.parametrize("path", ["/upload/v1beta/files", "/gemini/upload/v1beta/files"])
def test_it_works(path: str) -> None:
    link = link_of(asked(path))
    assert link.startswith(f"http://router.test:8080{path}?upload_id=AbC-1_x&upload_protocol=resumable&{PARAMETER}=")
    assert opened(link) == (KEY.digest, "upload_id=AbC-1_x&upload_protocol=resumable")
    assert KEY.raw not in link


def test_a_link_of_a_gateway_below_a_path_is_told_without_it() -> None:
    given = "https://gateway.test/google/upload/v1beta/files?upload_id=1"
    assert link_of(asked(), given, "/google").startswith("http://router.test:8080/upload/v1beta/files?upload_id=1&")


def test_a_link_leads_to_the_address_that_is_set_whatever_host_was_called() -> None:
    there = UploadLinks(("secret",), (), "https://llm.example/router", lambda: NOW)
    ((_, value),) = there.rewritten([(b"x-goog-upload-url", GIVEN.encode())], asked(), KEY.digest, "")
    assert value.startswith(b"https://llm.example/router/upload/v1beta/files?upload_id=")
    path = value.decode().removeprefix("https://llm.example/router")
    assert opened(f"http://router.test:8080{path}")[0] == KEY.digest


def test_a_link_without_a_query_is_led_here_too() -> None:
    link = link_of(asked(), "https://google.test/upload/v1beta/files/session")
    assert opened(link) == (KEY.digest, "")


def test_a_link_elsewhere_below_the_provider_goes_by_its_name() -> None:
    assert "/gemini/resumable/1?" in link_of(asked(), "https://google.test/resumable/1")


@pytest.mark.parametrize("empty", [(b"x-goog-api-key", b""), (b"authorization", b"Bearer")])
def test_a_header_that_names_no_key_is_no_other_key(empty: Header) -> None:
    assert opened(link_of(asked()), empty)[0] == KEY.digest


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("10.0.0.1", b"https", "https"),
        ("10.0.0.1", b"HTTPS", "https"),
        ("10.0.0.1", b"http, https", "https"),
        ("10.0.0.1", b"https, http", "http"),
        ("192.0.2.1", b"https", "http"),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(peer: str, said: bytes, scheme: str) -> None:
    request = asked("/upload/v1beta/files", "", (b"x-forwarded-proto", said), peer=peer)
    assert link_of(request).startswith(f"{scheme}://router.test:8080/")


@pytest.mark.parametrize("given", ["https://google.test/a b", "http://[", "https://google.test/a\r\nx: y", ""])
def test_what_cannot_be_led_here_is_left_out(given: str) -> None:
    header = (b"x-goog-upload-control-url", given.encode())
    assert links().rewritten([header, (b"x-a", b"1")], asked(), KEY.digest, "") == [(b"x-a", b"1")]


@pytest.mark.parametrize("name", [b"x-goog-upload-url", b"x-goog-upload-control-url", b"location", b"content-location"])
@pytest.mark.parametrize("given", [GIVEN, GIVEN.removeprefix("https://generativelanguage.googleapis.com")])
def test_each_header_that_leads_on_leads_here(name: bytes, given: str) -> None:
    ((kept, value),) = links().rewritten([(name, given.encode())], asked(), KEY.digest, "")
    assert kept == name
    assert value.startswith(b"http://router.test:8080/upload/v1beta/files?upload_id=AbC-1_x&")
    assert opened(value.decode())[0] == KEY.digest


def test_other_headers_are_left_alone() -> None:
    headers = [(b"x-guploader-uploadid", b"1"), (b"content-type", b"text/plain")]
    assert links().rewritten(headers, asked(), KEY.digest, "") is headers


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda link: link.replace("AbC-1_x", "AbC-1_y"), "not one of this router's"),
        (lambda link: link.replace("/v1beta/", "/v1/"), "not one of this router's"),
        (lambda link: link.replace(KEY.digest, OTHER.digest), "not one of this router's"),
        (lambda link: link.replace(f"={NOW + LIFETIME_SECONDS}", f"={NOW + LIFETIME_SECONDS + 1}"), "not one of"),
        (lambda link: f"{link}&more=1", "not one of this router's"),
        (lambda link: f"{link[:-1]}x", "damaged"),
        (lambda link: link.partition(PARAMETER)[0] + f"{PARAMETER}=", "damaged"),
        (lambda link: f"{link}&{PARAMETER}={link.rpartition('=')[2]}", "damaged"),
    ],
)
def test_a_changed_link_admits_nobody(change: Callable[[str], str], sentence: str) -> None:
    found, _ = opened(change(link_of(asked())))
    assert isinstance(found, Deny)
    assert sentence in str(found.facts["detail"])


def test_a_link_ends_after_its_time() -> None:
    link = link_of(asked())
    assert opened(link, by=links(now=NOW + LIFETIME_SECONDS - 1))[0] == KEY.digest
    late, _ = opened(link, by=links(now=NOW + LIFETIME_SECONDS))
    assert isinstance(late, Deny)
    assert "no longer valid" in str(late.facts["detail"])


def test_a_link_outlives_a_rotation_of_secrets_as_long_as_the_old_one_is_known() -> None:
    link = link_of(asked())
    assert opened(link, by=links("new", "secret"))[0] == KEY.digest
    assert isinstance(opened(link, by=links("new"))[0], Deny)


def test_a_key_beside_the_link_must_be_the_one_it_was_made_for() -> None:
    link = link_of(asked())
    assert opened(link, (b"x-goog-api-key", KEY.raw.encode()))[0] == KEY.digest
    for raw in (OTHER.raw, "nonsense"):
        assert isinstance(opened(link, (b"x-goog-api-key", raw.encode()))[0], Deny)
