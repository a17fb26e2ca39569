"""A secret handed over in a real browser: the link takes its place in the dialog, and shows it to somebody else once."""

import re
from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from harness import Router
from pages_kit import RULES
from playwright.sync_api import Browser, Page, expect

Visit = Callable[..., Page]
SECRET = re.compile(r"sk-proxy-[0-9a-f]{64}")


def faults(page: Page) -> list[str]:
    return [one["id"] for one in Axe().run(page, options=RULES).response["violations"]]


def test_it_works(visit: Visit, dashboard: Router, browser: Browser) -> None:
    page = visit()
    page.click("#create-key")
    page.fill("#key-name", "for ann")
    page.click("summary:has-text('About it')")
    page.fill("#key-tags", "search, team a")
    page.click("#modal button[type=submit]")
    secret = page.locator("#modal #secret")
    expect(secret).to_have_value(SECRET)
    raw = secret.input_value()
    page.click("#modal button:has-text('Make a one-time link')")
    expect(secret).to_have_value(re.compile("/hand-over/"))
    link = secret.input_value()
    assert faults(page) == []
    page.keyboard.press("Escape")
    expect(secret).to_be_visible()
    page.click("text=I have copied the link")
    expect(page.locator("#modal")).not_to_be_visible()

    for shown in ({"color_scheme": "light"}, {"color_scheme": "dark", "java_script_enabled": False}):
        context = browser.new_context(viewport={"width": 360, "height": 700}, **shown)
        ann = context.new_page()
        ann.goto(link)
        wide = ann.evaluate("document.documentElement.scrollWidth") if shown.get("java_script_enabled", True) else 360
        assert wide <= 360
        if "java_script_enabled" not in shown:
            assert faults(ann) == []
            context.close()
            continue
        ann.keyboard.press("Tab")
        ann.click("button:has-text('Show the secret')")
        expect(ann.locator("#secret")).to_have_value(raw)
        ann.goto(link)
        expect(ann.get_by_role("alert")).to_contain_text("shown already")
        context.close()


def test_the_page_with_the_secret_is_as_good_as_the_others(visit: Visit, dashboard: Router, browser: Browser) -> None:
    key_id, raw = dashboard.create_key(name="for bob")
    made = dashboard.api("POST", f"/v1/keys/{key_id}/hand-overs", json={"key": raw})
    page = visit()
    page.goto(f"{dashboard.web_url}/keys/{key_id}")
    expect(page.get_by_role("button", name="End the link")).to_be_visible()
    assert faults(page) == []
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme="dark")
    bob = context.new_page()
    bob.goto(made.json()["url"])
    bob.keyboard.press("Enter")  # the button has the focus
    expect(bob.locator("#secret")).to_have_value(raw)
    assert faults(bob) == []
    assert bob.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
