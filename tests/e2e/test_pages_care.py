"""The pages in Chromium take care: of other people's edits, of a secret pasted where it must not stay, of long lists."""

import re
from collections.abc import Callable

import pytest
from harness import Router
from pages_kit import check, expect_focus, open_dialog
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_a_key_pasted_into_the_search_leaves_the_browser_as_its_prefix(
    visit: Callable[..., Page], dashboard: Router
) -> None:
    _, raw = dashboard.create_key(name="which one is it")
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#q").fill(raw)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("which one is it")
    expect(page.locator("#q")).to_have_value(raw[:13])
    expect(page).to_have_url(re.compile(rf"q={raw[:13]}$"))
    assert not any(raw[13:] in url for url in asked)


def test_a_conflict_keeps_what_somebody_else_changed(visit: Callable[..., Page], dashboard: Router) -> None:
    key_id, _ = dashboard.create_key(name="shared", spend_limit_usd="5")
    page = visit()
    page.locator(f"#actions-{key_id}").click()
    dialog = open_dialog(page, f"#edit-{key_id}")
    dashboard.edit(key_id, spend_limit_usd="7")
    dialog.locator("#key-name").fill("shared by two")
    dialog.get_by_role("button", name="Save changes").click()
    conflict = dialog.locator(".conflict")
    expect(conflict).to_contain_text("left as it was")
    expect(dialog.locator("#key-spend_limit_usd")).to_have_value("7.00")
    check(page)
    dialog.get_by_role("button", name="Save changes").click()
    expect(page.locator(f"#row-{key_id}")).to_contain_text("shared by two")
    assert dashboard.key(key_id)["spend_limit_usd"] == "7.00"


def test_hints_come_for_long_lists_too(visit: Callable[..., Page]) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator(".advanced summary").click()
    long_list = [f"2001:db8:{number:x}:1111:2222:3333::/112" for number in range(199)]
    dialog.locator("#key-allowed_ips").fill("\n".join([*long_list, "10.0.0.1/8"]))
    expect(dialog.locator("#ip-hints")).to_contain_text("did you mean 10.0.0.0/8?")
    expect(page.locator(".toast-error")).to_have_count(0)


def test_a_connection_is_tested_and_a_credential_replaced(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    page.goto(f"{dashboard.web_url}/providers")
    page.get_by_role("button", name="Test connection to OpenAI").click()
    expect(page.locator("#test_openai")).to_contain_text("it was not asked")
    dialog = open_dialog(page, "#credential_openai")
    expect_focus(page, "credential")
    check(page)
    dialog.locator("#credential").fill("short")
    page.keyboard.press("Enter")
    expect(page.locator("#credential-error")).to_contain_text("8 to 500")
    expect(page.locator("#credential")).to_have_value("")
    page.locator("#credential").fill(dashboard.credentials["openai"])
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("stored already")
    open_dialog(page, "#remove_openai")
    expect_focus(page, "Cancel")
    check(page)
    page.keyboard.press("Escape")
    expect_focus(page, "remove_openai")
    page.goto(f"{dashboard.web_url}/providers/models")
    page.locator("#model-q").fill("haiku-4-5")
    expect(page.locator("tbody tr")).to_have_count(1)
    open_dialog(page, "[id^=price-anthropic]")
    expect_focus(page, "price-input_tokens")
    check(page)


def test_an_invitation_without_javascript(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit(java_script_enabled=False)
    page.goto(f"{dashboard.web_url}/settings/members")
    page.get_by_label("Email").fill("newcomer@example.com")
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#secret").input_value()
    page.get_by_role("button", name="Log out").click()
    page.goto(link)
    expect(page.locator("main")).to_contain_text("You are invited to Default as member.")
    page.get_by_label("Password").fill("four words of mine")
    page.get_by_role("button", name="Become a member").click()
    expect(page.locator(".me")).to_contain_text("newcomer@example.com")
