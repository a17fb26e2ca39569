"""The page of one key at the running router: refusals are seen there within two seconds, with what to do about them."""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import requests
from calls import chat, code
from drivers import session_of
from harness import Json, Router, eventually
from pages_kit import check, expect_focus, open_dialog
from playwright.sync_api import Page, Request, expect

from shared.policy import Reason
from webapp.views.refusal_help import HELP


@pytest.fixture(scope="module")
def dashboard(router: Router) -> Router:
    """For `visit`: here the proxy runs as well."""
    return router


@pytest.fixture(scope="module")
def staff(router: Router) -> Iterator[requests.Session]:
    with session_of(router) as session:
        yield session


def page_of(router: Router, key_id: str) -> str:
    return f"{router.web_url}/keys/{key_id}"


def refusals(router: Router) -> list[tuple[Reason, Json, Callable[[str], requests.Response]]]:
    """A reason, what is edited of the key before, and a call that is refused for it."""
    ask, film = partial(chat, router), partial(chat, router, path="/openai/v1/videos", model="sora-2")
    open_again = {"allowed_ips": [], "allowed_providers": [], "allowed_models": [], "paused": False}
    return [
        (Reason.KEY_PAUSED, {"paused": True}, ask),
        (Reason.IP_BLOCKED, {**open_again, "allowed_ips": ["10.0.0.0/8"]}, ask),
        (Reason.PROVIDER_NOT_ALLOWED, {**open_again, "allowed_providers": ["gemini"]}, ask),
        (Reason.MODEL_NOT_ALLOWED, {**open_again, "allowed_models": ["o3"]}, ask),
        (Reason.INVALID_REQUEST, open_again, partial(ask, model="nobodys")),
        (Reason.UNKNOWN_ENDPOINT, {}, partial(ask, path="/v1/v1/chat/completions")),
        (Reason.METHOD_NOT_ALLOWED, {}, partial(_get, router, "/v1/embeddings")),
        (Reason.UNSUPPORTED_ENCODING, {}, partial(ask, headers={"Content-Encoding": "lzma"})),
        (Reason.ENDPOINT_NOT_METERED, {"spend_limit_usd": "1"}, film),
        (Reason.SPEND_EXCEEDED, {"spend_limit_usd": "0.000001"}, ask),
    ]


def _get(router: Router, path: str, key: str) -> requests.Response:
    return requests.get(router.proxy_url + path, headers={"Authorization": f"Bearer {key}"}, timeout=10)


def test_it_works(router: Router, staff: requests.Session) -> None:
    """Each refusal is on the page of its key with its cause and what to do; on a busy machine one may be late."""
    key_id, key = router.create_key(name="refused for much")
    waits = []
    for reason, fields, call in refusals(router):
        if fields:
            router.edit(key_id, **fields)
        refused = call(key)
        assert code(refused) == reason.value, refused.text
        begun = time.monotonic()

        def told(words: str = HELP[reason].remedy) -> bool:
            return words in staff.get(page_of(router, key_id), timeout=10).text.replace("&#39;", "'")

        eventually(told, what=f"the refusal {reason}")
        waits.append(time.monotonic() - begun)
    assert sorted(waits)[-2] < 2.0, f"seen after {waits} s"


@pytest.mark.browser
def test_why_an_app_gets_a_403_and_the_cure_of_it(visit: Callable[..., Page], router: Router) -> None:
    key_id, key = router.create_key(name="asks for the wrong model", allowed_models=["gpt-4o*"])
    page = visit()
    page.goto(page_of(router, key_id))
    live = page.locator("#key-live")
    expect(live).to_contain_text("No request of it was ever refused")
    assert code(chat(router, key, model="claude-haiku-4-5")) == "model_not_allowed"
    expect(live).to_contain_text("What to do. Add the model to the allowed models of the key", timeout=10_000)
    expect(live.locator(".pill")).to_contain_text("Blocked")
    expect(page.locator("#key-said")).to_contain_text("Blocked")
    live.get_by_role("link", name="Edit this key").click()
    dialog = page.locator("dialog[open]")
    dialog.locator("#key-allowed_models").fill("gpt-4o*\nclaude-haiku-*")
    dialog.get_by_role("button", name="Save changes").click()
    expect(page.locator(".toast-ok")).to_contain_text("Saved asks for the wrong model.")
    expect(page.locator("#key-live .pill")).to_contain_text("Active")
    assert page.url == page_of(router, key_id)
    assert chat(router, key, model="claude-haiku-4-5").status_code == 200


@pytest.mark.browser
def test_a_key_is_handed_over_for_claude_code_and_python(visit: Callable[..., Page], router: Router) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill("handed over")
    dialog.get_by_role("button", name="Create key").click()
    secret = dialog.locator("#secret").input_value()
    for tab, words in (
        ("Claude Code", "ANTHROPIC_AUTH_TOKEN=$ROUTER_KEY"),
        ("Python (OpenAI)", "from openai import OpenAI"),
    ):
        dialog.get_by_text(tab, exact=True).click()
        expect(dialog.locator(".snippet:visible")).to_contain_text(words)
        expect(dialog.locator(".snippet:visible")).to_contain_text(f"export ROUTER_KEY={secret}")
        # To be seen at once, before the dialog is scrolled.
        expect(dialog.locator(".snippet:visible").get_by_role("button", name="Copy")).to_be_in_viewport()
    dialog.locator("[data-saved]").click()
    key_id = page.locator("tr", has_text="handed over").first.get_attribute("id") or ""
    page.goto(page_of(router, key_id.removeprefix("row-")))
    page.locator("#examples").get_by_text("Claude Code", exact=True).click()
    expect(page.locator(".snippet:visible")).to_contain_text("unset ANTHROPIC_API_KEY")
    assert secret[13:] not in page.content()


@pytest.mark.browser
def test_a_leaked_key_is_rotated_with_an_hours_grace(visit: Callable[..., Page], router: Router) -> None:
    key_id, old = router.create_key(name="leaked")
    page = visit()
    page.goto(page_of(router, key_id))
    page.locator("#rotate").click()
    dialog = page.locator("dialog[open]")
    dialog.locator("#rotate-grace_seconds").select_option("3600")
    dialog.locator("#rotate-now").click()
    new = dialog.locator("#secret").input_value()
    assert new != old
    # The page below has the same tabs, without the secret.
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog.get_by_text("curl", exact=True).click()
    shown = dialog.locator(".snippet:visible")
    expect(shown).to_contain_text(f"export ROUTER_KEY={new}")
    shown.get_by_role("button", name="Copy").click()
    expect(shown.locator("[data-copied]")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == shown.locator("pre").text_content()
    with page.expect_navigation():
        dialog.locator("[data-saved]").click()
    assert page.url == page_of(router, key_id)
    limits = page.locator("dl.facts").first
    expect(limits).to_contain_text(f"{new[:13]}…")
    expect(limits).to_contain_text("rotated out: opens it until")
    assert [chat(router, secret).status_code for secret in (old, new)] == [200, 200]


@pytest.mark.browser
@pytest.mark.parametrize("by", ["Close", "Escape"])
def test_the_page_knows_that_old_secrets_were_ended(visit: Callable[..., Page], router: Router, by: str) -> None:
    key_id, _ = router.create_key(name="ended early")
    router.api("POST", f"/v1/keys/{key_id}/rotate", json={"grace_seconds": 3_600}).raise_for_status()
    page = visit()
    page.goto(page_of(router, key_id))
    limits = page.locator("dl.facts").first
    expect(limits).to_contain_text("rotated out")
    page.locator("#rotate").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_role("button", name="End the old secret now").click()
    expect(dialog.get_by_role("status")).to_contain_text("is refused from the next request on")
    with page.expect_navigation():
        if by == "Escape":
            page.keyboard.press("Escape")
        else:
            dialog.locator(".panel-foot").get_by_text("Close", exact=True).click()
    expect(limits).not_to_contain_text("rotated out")


@pytest.mark.browser
def test_it_asks_only_while_somebody_looks(visit: Callable[..., Page], router: Router) -> None:
    """By the clock of the page, which is moved by hand."""
    key_id, _ = router.create_key(name="looked at")
    page = visit()
    page.clock.install()
    page.goto(page_of(router, key_id))

    def asks() -> None:
        with page.expect_response(re.compile("/live")) as told:
            page.clock.run_for(2_000)
        told.value.finished()
        page.evaluate("fetch('/healthz')")  # what came before this was seen by the page
        page.clock.run_for(100)  # and is in its place

    def is_silent(seconds: int) -> None:
        asked: list[Request] = []

        def note(request: Request) -> None:
            asked.append(request)

        page.on("request", note)
        page.clock.run_for(seconds * 1_000)
        page.evaluate("fetch('/healthz')")
        page.remove_listener("request", note)
        assert [request.url for request in asked if "/live" in request.url] == []

    asks()
    asks()
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    is_silent(60)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: false })")
    asks()
    page.clock.fast_forward(11 * 60_000)
    is_silent(60)
    page.keyboard.press("Shift")
    asks()
    page.route("**/live*", lambda route: route.fulfill(status=503, content_type="text/plain", body="Not now."))
    asks()
    expect(page.locator("#key-stale")).to_be_visible()
    expect(page.locator(".toast-error")).to_have_count(0)
    page.unroute("**/live*")
    asks()
    expect(page.locator("#key-stale")).to_be_hidden()


@pytest.fixture(scope="module")
def full(router: Router) -> str:
    """A key about which there is something to tell in every section."""
    key_id, key = router.create_key(
        name="everything about a key with a name that goes on for quite a while", spend_limit_usd="5", rate_limit_rpm=60,
        allowed_models=["gpt-4o*", "claude-*"], allowed_ips=["127.0.0.0/8", "2001:db8:1111:2222:3333:4444:5555:6666"],
    )  # fmt: skip
    for model in ("gpt-4o-mini", "gpt-4o", "claude-haiku-4-5"):
        assert chat(router, key, model=model).status_code == 200
    assert code(chat(router, key, model="gemini-2.5-flash")) == "model_not_allowed"
    router.wait_for_ledger(key_id, 3)
    return key_id


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(visit: Callable[..., Page], router: Router, full: str, scheme: str, width: int) -> None:
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto(page_of(router, full))
    expect(page.locator("#key-live")).to_contain_text("Model not allowed")
    page.locator("summary", has_text="View as table").click()
    page.locator("#check-model").fill("gemini-2.5-flash")
    page.locator("#check-ip").fill("127.0.0.1")
    page.get_by_role("button", name="Test it").click()
    expect(page.locator("#check-answer")).to_contain_text("It would be refused: model not allowed")
    expect_focus(page, "check-answer")
    check(page)
    for table in page.locator(".table-responsive").all():  # nothing of them is out of sight, on a telephone either
        assert table.evaluate("box => box.scrollWidth <= box.clientWidth")
    page.locator("#days-7").click()
    expect(page.locator("#days-7")).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(re.compile(r"\?days=7$"))
    expect_focus(page, "days-7")


@pytest.mark.browser
def test_everything_works_without_javascript(visit: Callable[..., Page], router: Router, full: str) -> None:
    page = visit(java_script_enabled=False)
    page.goto(page_of(router, full))
    page.locator("#days-90").click()
    expect(page.locator("#days-90")).to_have_attribute("aria-current", "true")
    page.locator("label[for=tab-codex]").click()
    expect(page.locator("#snippet-codex")).to_be_visible()
    page.locator("#check-model").fill("gpt-4o-mini")
    page.get_by_role("button", name="Test it").click()
    expect(page.locator("#check-ip-error")).to_contain_text("Is required")
    expect(page.locator("#check-model")).to_have_value("gpt-4o-mini")
    page.locator("#check-ip").fill("127.0.0.1")
    page.get_by_role("button", name="Test it").click()
    expect(page.locator("#check-answer")).to_contain_text("It would be let through")
    page.goto(page_of(router, full))
    page.get_by_role("button", name="Pause").click()
    assert page.url == page_of(router, full)
    expect(page.locator(".key-state")).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".key-state")).not_to_contain_text("Paused")
    page.locator("#edit").click()
    page.locator("#key-name").fill("edited without javascript")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("h1")).to_have_text("edited without javascript")
