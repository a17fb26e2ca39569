"""What the tests of the pages in Chromium share: a dashboard, a browser whose console must stay clean, and axe."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from drivers import chromium, log_in
from harness import Router
from playwright.sync_api import Browser, Locator, Page, StorageState

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
_EXPECTED = re.compile(
    "status of [45]|Response Status Error Code|net::ERR_|htmx:(afterRequest|sendError|timeout)|untrustworthy"
)
_CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """The dashboard alone; what the proxy does is tested elsewhere."""
    router = Router(tmp_path_factory.mktemp("pages") / "data")
    try:
        router.bootstrap()
        router.start("dashboard")
        router.create_key(name="billing", spend_limit_usd="20", spend_reset="weekly", allowed_models=["gpt-4o*"])
        router.create_key(name="frozen", spend_limit_usd="0", rate_limit_rpm=1, allowed_ips=["10.0.0.0/8"])
        router.create_key(name="resting", paused=True)
        router.create_key(name='<img src=x onerror=alert(1)> hx-get="/logout"', allowed_providers=["gemini"])
        # Made by a token, whose id is a long word in the list of tokens.
        router.api("POST", "/v1/tokens", json={"name": "by automation", "scopes": ["keys:read"]}).raise_for_status()
        hook = router.api("POST", "/v1/webhooks", json={"url": f"https://hooks.example.com/{'long' * 30}"})
        hook.raise_for_status()
        router.api("PATCH", "/v1/alerts", json={"recipients": ["ops@example.com"]}).raise_for_status()
        router.api("POST", "/v1/alerts/test").raise_for_status()
        # One provider with several credentials, one of them switched off.
        further = {"label": "the one of team b", "credential": "sandbox-of-team-b-0002", "enabled": False}
        router.api("POST", "/v1/providers/gemini/credentials", json=further).raise_for_status()
        yield router
    finally:
        router.stop_all()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def entered() -> dict[str, StorageState]:
    """The cookies of a login that holds for all pages of a module, so that each need not log in by itself."""
    return {}


@pytest.fixture
def visit(browser: Browser, dashboard: Router, entered: dict[str, StorageState]) -> Iterator[Callable[..., Page]]:
    """`visit(**options)`: a logged-in page whose console must stay free of errors."""
    said: list[str] = []
    with contextlib.ExitStack() as stack:

        def visit(**options: Any) -> Page:
            shown: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}, **options}
            context = browser.new_context(storage_state=entered.get(""), **shown)
            stack.callback(context.close)
            context.set_default_timeout(10_000)
            page = context.new_page()
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.goto(f"{dashboard.web_url}/keys")
            if "/login" in page.url:
                log_in(page, dashboard)
                entered[""] = context.storage_state()
            return page

        yield visit
    # A browser notes each refusal and lost connection, and so does htmx; any other error, a violation of the CSP above
    # all, is a fault.
    faults = [text for text in said if not _EXPECTED.search(text)]
    assert not faults, faults


def open_dialog(page: Page, selector: str = "#create-key") -> Locator:
    page.locator(selector).click()
    dialog = page.locator("dialog[open]")
    dialog.locator("#panel-title").wait_for()
    return dialog


def create(page: Page, name: str) -> Locator:
    """The dialog that shows the secret of a new key."""
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill(name)
    page.keyboard.press("Enter")
    dialog.locator("#secret").wait_for()
    return dialog


def expect_focus(page: Page, what: str) -> None:
    """Wait for the focus to come to the element with this id or this text: it moves a moment after a swap."""
    script = "what => (document.activeElement.id || document.activeElement.textContent.trim()) === what"
    page.wait_for_function(script, arg=what)


def open_menu(page: Page) -> None:
    """Unfold the top bar, where the window is too narrow for all of it."""
    summary = page.locator(".bar-menu:not([open]) summary")
    if summary.is_visible():
        summary.click()


def faint(page: Page) -> list[str]:
    """The edges of controls and the rings of focus that stand out by less than 3:1 on this page or its dialog."""
    page.keyboard.press("Tab")  # by keyboard from here on, so that whatever has the focus shows it
    found = page.evaluate(_CONTRAST)
    assert found["rings"] > 0
    told: list[str] = found["told"]
    return told


def check(page: Page) -> None:
    """Nothing for axe to find, and nothing wider than the window."""
    results = Axe().run(page, options=RULES)
    told = [f"{v['id']}: {[node['target'] for node in v['nodes']]}" for v in results.response["violations"]]
    assert not told, told
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
