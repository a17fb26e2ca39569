"""Logging in through a provider, in Chromium: there and back, refused, deactivated, and out of both."""

import re
from collections.abc import Iterator

import pytest
from harness import Router
from pages_kit import check
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from provider_of_people import OF_THE_PROVIDER, PeopleProvider, running

pytestmark = [pytest.mark.browser, OF_THE_PROVIDER]
LOCAL = re.compile(r"http://(127\.0\.0\.1|localhost):\d+/")


@pytest.fixture(scope="module")
def people() -> Iterator[PeopleProvider]:
    with running() as provider:
        provider.knows("ann", groups=["staff"])
        provider.knows("bob", groups=["sales"])
        yield provider


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, people: PeopleProvider) -> Iterator[Router]:
    data_dir = tmp_path_factory.mktemp("people") / "data"
    router = Router(data_dir, workers=1, **people.settings(), ROUTER_OIDC_ROLES="staff=member")
    try:
        router.bootstrap()
        router.start("dashboard")
        yield router
    finally:
        router.stop_all()


def local_only(route: Route) -> None:
    """The provider's page has a style sheet of the world outside."""
    if LOCAL.match(route.request.url):
        route.continue_()
    else:
        route.abort()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(10_000)
    context.route("**/*", local_only)
    yield context
    context.close()


def come_as(page: Page, router: Router, subject: str) -> None:
    page.goto(f"{router.web_url}/login?next=/usage%3Fby%3Dkey")
    page.get_by_role("link", name="Sign in with SSO").click()
    page.locator("[name=sub]").first.fill(subject)
    page.get_by_role("button", name="Authorize").click()


def test_it_works(context: BrowserContext, router: Router, people: PeopleProvider) -> None:
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(f"{router.web_url}/login")
        check(page)
    page.set_viewport_size({"width": 1280, "height": 860})
    come_as(page, router, "ann")
    page.wait_for_url(f"{router.web_url}/usage?by=key")
    expect(page.locator(".me-name")).to_have_text("ann@example.com")
    expect(page.locator(".me .tag")).to_have_text("member")
    assert not [text for text in said if "Content Security Policy" in text]

    # An administrator shuts her out; her next click leads to the login, and the provider does not help.
    found = router.api("GET", "/v1/members").json()["data"]
    (ann,) = [one["id"] for one in found if one["email"] == "ann@example.com"]
    router.api("PATCH", f"/v1/members/{ann}", json={"active": False}).raise_for_status()
    page.get_by_role("link", name="API Keys").click()
    page.wait_for_url(f"{router.web_url}/login?next=/keys")
    come_as(page, router, "ann")
    expect(page.get_by_role("alert")).to_contain_text("your membership was ended")
    check(page)

    router.api("PATCH", f"/v1/members/{ann}", json={"active": True}).raise_for_status()
    page.get_by_role("link", name="Try again").click()
    page.locator("[name=sub]").first.fill("ann")
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{router.web_url}/usage?by=key")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="log out there too").click()
    page.wait_for_url(re.compile(rf"{people.issuer}/oauth2/end_session\?"))


def test_without_javascript_somebody_is_told_which_group_is_missing(browser: Browser, router: Router) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    try:
        context.route("**/*", local_only)
        page = context.new_page()
        come_as(page, router, "bob")
        expect(page.get_by_role("alert")).to_contain_text("One of these is needed: staff.")
        assert "/login/provider/callback?" in page.url
        page.get_by_role("link", name="Back to the login").click()
        expect(page.get_by_label("Password")).to_be_visible()
    finally:
        context.close()
