"""Every page in Chromium: what belongs together stands in line, from a telephone to a wide screen."""

from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Router
from places import PLACES
from playwright.sync_api import Page

pytestmark = pytest.mark.browser
_OFF_THEIR_LINE = (Path(__file__).parent / "lines.js").read_text(encoding="utf-8")
# Between each field and its hint, in pixels.
_GAPS = """() => [...document.querySelectorAll(".field")].filter((field) => field.checkVisibility()).flatMap((field) => {
    const hint = field.querySelector(":scope > .form-hint"), control = hint?.previousElementSibling;
    if (!control?.matches(".input-plain, .input-group, .form-control, .form-select")) return [];
    return [Math.round(hint.getBoundingClientRect().top - control.getBoundingClientRect().bottom)];
})"""
# The words that a list of choices shows, and the room that there is for them.
_CUT = """() => [...document.querySelectorAll("form select")].filter((one) => one.checkVisibility()).flatMap((one) => {
    const pen = document.createElement("canvas").getContext("2d"), style = getComputedStyle(one);
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const words = one.selectedOptions[0]?.text ?? "";
    return pen.measureText(words).width > room ? [words] : [];
})"""


def test_it_works(visit: Callable[..., Page], dashboard: Router) -> None:
    """Badges and tags share the line of the words beside them."""
    dashboard.run("-m", "flask", "--app", "wsgi", "users", "create", "somebody@example.com")
    page = visit()
    for place in PLACES:
        place.visit(page, dashboard.web_url)
        assert (place.name, page.evaluate(_OFF_THEIR_LINE)) == (place.name, [])


def test_what_is_off_its_line_is_found(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    page.goto(f"{dashboard.web_url}/providers")
    assert page.evaluate(_OFF_THEIR_LINE) == []
    page.locator(".pill").first.evaluate("pill => { pill.style.alignItems = 'center' }")
    assert len(page.evaluate(_OFF_THEIR_LINE)) > 0


def test_hints_stand_as_near_to_every_field(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    for path in ("/settings", "/settings/members", "/settings/alerts", "/keys/new", "/providers/prices/edit"):
        page.goto(f"{dashboard.web_url}{path}")
        gaps = page.evaluate(_GAPS)
        assert gaps, path
        assert set(gaps) == {4}, path


def test_choices_on_a_telephone_are_not_cut(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit(viewport={"width": 360, "height": 740})
    for path in ("/keys", "/requests", "/requests/refused", "/audit", "/providers/models"):
        page.goto(f"{dashboard.web_url}{path}")
        assert (path, page.evaluate(_CUT)) == (path, [])


def test_cards_of_the_audit_log_have_one_edge(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit(viewport={"width": 360, "height": 740})
    page.goto(f"{dashboard.web_url}/audit")
    edges = page.evaluate("""() => [...document.querySelectorAll(".log-audit tbody tr")].map((row) => {
        const edge = (cell, side) => Math.round(cell.getBoundingClientRect()[side]);
        const [time, what, target, who] = row.children;
        return [edge(what, "left"), edge(target, "left"), edge(time, "right"), edge(who, "left")].join();
    })""")
    assert len(edges) > 3
    assert len(set(edges)) == 1, edges
    # What somebody did is told whole where there is room for it beside the time.
    assert (
        page.evaluate("""() => [...document.querySelectorAll(".log-audit tbody th")]
        .filter((what) => what.scrollWidth > what.clientWidth).map((what) => what.textContent)""")
        == []
    )


def test_what_scrolls_scrolls_one_way(visit: Callable[..., Page], dashboard: Router) -> None:
    """A table that is wide gets no second bar for a pixel."""
    page = visit()
    page.goto(f"{dashboard.web_url}/settings/alerts")
    assert page.locator(".table-responsive").evaluate("one => getComputedStyle(one).overflowY") == "hidden"


@pytest.mark.parametrize("width", [640, 768, 1152])
def test_a_tablet_shows_tables(visit: Callable[..., Page], dashboard: Router, width: int) -> None:
    """UX.md, 2: from 640 px on a table, below it cards. Times are as long as they get, and somebody was invited."""
    invited = {"email": f"somebody.invited.at.{width}@engineering.example.com", "role": "viewer"}
    dashboard.api("POST", "/v1/invitations", json=invited).raise_for_status()
    page = visit(viewport={"width": width, "height": 1024})
    for path in ("/settings", "/settings/members", "/settings/alerts", "/providers/models", "/account"):
        page.goto(f"{dashboard.web_url}{path}")
        assert page.locator("table.keys thead").first.is_visible(), path
        page.evaluate("document.querySelectorAll('table time').forEach(one => one.textContent = '59 minutes ago')")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.set_viewport_size({"width": 639, "height": 1024})
    assert page.locator("table.keys thead").first.is_hidden()


def test_a_badge_stays_in_its_column(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    for width in (640, 700, 768, 1000):
        page.set_viewport_size({"width": width, "height": 1024})
        page.goto(f"{dashboard.web_url}/keys")
        row = page.locator("tr", has_text="resting")
        pill = row.locator(".pill")
        pill.evaluate(
            "pill => { pill.lastElementChild.previousSibling.data = 'Refused lately' }"
        )  # the longest there is
        badge, name = pill.bounding_box(), row.locator(".who").bounding_box()
        assert badge is not None
        assert name is not None
        assert badge["x"] + badge["width"] <= name["x"], width


def test_prices_of_a_cache_are_told_on_every_screen(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    page.goto(f"{dashboard.web_url}/providers/models?q=haiku-4-5")
    row = page.locator("tr", has_text="claude-haiku-4-5").first
    cached = row.locator("td[data-label='Cached input']")
    for width, in_its_column in ((1280, True), (768, False), (360, False)):
        page.set_viewport_size({"width": width, "height": 900})
        assert cached.is_visible() == in_its_column, width
        row.locator("details").evaluate("details => { details.open = true }")
        assert row.get_by_text("Cached input: $").is_visible() != in_its_column, width


def test_buttons_in_lists_look_like_buttons(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    for path, selector in (("/providers", "li a.btn"), ("/settings/alerts", "p a.btn")):
        page.goto(f"{dashboard.web_url}{path}")
        assert page.locator(selector).first.evaluate("one => getComputedStyle(one).textDecorationLine") == "none"
