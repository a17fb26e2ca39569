"""Every page and dialog in Chromium: nothing for axe, edges and rings that stand out, room from 360 to 2560 px, themes."""

import re
from collections.abc import Callable

import pytest
from drivers import log_in
from harness import Router
from pages_kit import check, create, faint, open_dialog, open_menu
from places import LOGIN, PLACES
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
THE_PAGE_FITS = "document.documentElement.scrollWidth <= innerWidth"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_it_works(visit: Callable[..., Page], dashboard: Router, scheme: str, width: int) -> None:
    """FINDINGS D6. Colours follow the theme and places the width, so two of the four pairs show every fault."""
    email = f"somebody-with-a-long-name-{width}@example.com"
    dashboard.run("-m", "flask", "--app", "wsgi", "users", "create", email)
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 800})
    for place in PLACES:
        place.visit(page, dashboard.web_url)
        check(page)
        assert (place.name, faint(page)) == (place.name, [])
        for other in (360, 768, 2560):
            page.set_viewport_size({"width": other, "height": 800})
            assert page.evaluate(THE_PAGE_FITS), f"{place.name} at {other}"
        page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{dashboard.web_url}/keys")
    dialog = create(page, f"for axe {width}")
    check(page)
    assert faint(page) == []
    dialog.locator("[data-saved]").click()
    open_menu(page)
    check(page)
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"**{LOGIN.path}")
    check(page)
    assert faint(page) == []
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")  # FINDINGS D11


def test_what_is_faint_is_found(visit: Callable[..., Page]) -> None:
    page = visit()
    open_dialog(page)
    assert faint(page) == []
    page.locator("#key-name").evaluate("field => { field.style.borderColor = '#d8d8d8' }")
    page.locator("#key-allowed_models").evaluate("field => { field.style.outlineColor = '#d8d8d8' }")
    page.locator("dialog .btn-primary").evaluate("button => { button.style.setProperty('outline', '0', 'important') }")
    page.locator(".input-group-text").first.evaluate("sign => { sign.style.color = '#999' }")
    told = faint(page)
    assert [text.split(":")[0].split(" ")[0] for text in told] == ["edge", "text", "no"]
    page.locator("#key-allowed_models").evaluate(
        "field => { field.style.setProperty('outline-color', '#d8d8d8', 'important') }"
    )
    assert [text for text in faint(page) if "textarea" in text and text.startswith("ring ")]


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_the_theme_is_one_click_away(visit: Callable[..., Page], dashboard: Router, script: bool) -> None:
    page = visit(java_script_enabled=script)
    page.goto(f"{dashboard.web_url}/account")
    if script:
        page.evaluate("stayed = true")
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    expect(page.get_by_role("button", name="Dark", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="As the device")).to_have_attribute("aria-pressed", "false")
    assert page.url.endswith("/account")
    if script:
        assert page.evaluate("stayed")
    page.goto(f"{dashboard.web_url}/keys")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_the_menu_unfolds_without_script(visit: Callable[..., Page]) -> None:
    page = visit(java_script_enabled=False, viewport={"width": 360, "height": 800})
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    assert links.first.is_hidden()
    page.locator("summary", has_text="Menu").click()
    expect(links.first).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    links.get_by_text("Settings").click()
    expect(page.locator("h1")).to_have_text("Settings")


def test_the_top_bar_has_room_for_nine_pages(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 1153, "height": 800})
    page.evaluate("""() => {
        const nav = document.querySelector(".topnav");
        const words = ["Overview", "API Keys", "Usage", "Requests", "Providers", "Members", "Audit log", "Settings"];
        const links = words.map((word) => Object.assign(nav.querySelector("a").cloneNode(true), { textContent: word }));
        nav.replaceChildren(...links);
    }""")
    for width in (1153, 1280, 1600, 1601, 1920, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(THE_PAGE_FITS), width
        assert page.locator(".topbar").bounding_box()["height"] < 64, width  # type: ignore[index] # it is there


def test_a_message_lies_above_the_dialog(visit: Callable[..., Page]) -> None:
    """FINDINGS D11."""
    page = visit()
    dialog = create(page, "told above")
    toast = page.locator(".toast-ok", has_text="Key created.")
    expect(toast).to_be_visible()
    assert toast.evaluate("""card => {
        const { x, y, width, height } = card.getBoundingClientRect();
        return card.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    }""")
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)
    dialog.locator("[data-saved]").click()


def test_pages_of_errors_lead_on(visit: Callable[..., Page], dashboard: Router) -> None:
    """FINDINGS D11."""
    page = visit()
    page.goto(f"{dashboard.web_url}/nothing-is-here")
    page.get_by_role("link", name="Settings").click()
    expect(page.locator("h1")).to_have_text("Settings")


def test_copying_works_on_plain_http(visit: Callable[..., Page], dashboard: Router) -> None:
    plain = dashboard.web_url.replace("127.0.0.1", "plain.test")
    page = visit()
    log_in(page, dashboard, plain)
    assert page.evaluate("[isSecureContext, navigator.clipboard === undefined]") == [False, True]
    dialog = create(page, "copied over plain http")
    raw = dialog.locator("#secret").input_value()
    dialog.locator("[data-copy='#secret']").click()
    expect(dialog.locator("#secret-copied")).to_have_text("Copied.")
    dialog.locator("[data-saved]").click()
    page.locator("#q").focus()
    page.keyboard.press("ControlOrMeta+v")
    expect(page.locator("#q")).to_have_value(re.compile(f"^{raw[:13]}$"))
