"""What somebody typed outlives Escape, a session that ends, an error and a reload; and no secret is ever kept with it."""

import re
from collections.abc import Callable

import pytest
from harness import Router
from pages_kit import expect_focus, open_dialog
from playwright.sync_api import Page, Route, expect

from shared import keys

pytestmark = pytest.mark.browser
SECRET = re.compile(r"^sk-proxy-[0-9a-f]{64}$")


def log_in_again(page: Page, dashboard: Router) -> None:
    page.wait_for_url(re.compile(r"/login\?next="))
    email, password = dashboard.admin
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def kept(page: Page) -> str:
    text: str = page.evaluate("JSON.stringify({ ...sessionStorage })")
    return text


def test_escape_asks_before_it_throws_away(visit: Callable[..., Page]) -> None:
    page = visit()
    dialog, question = open_dialog(page), page.locator("#discard")
    dialog.locator("#key-name").fill("typed for long")
    page.keyboard.press("Escape")
    expect(question).to_be_visible()
    expect_focus(page, "Keep it")
    for _ in range(2):  # Escape keeps it, and so does the button
        page.keyboard.press("Escape")
        expect(question).to_be_hidden()
        expect(dialog.locator("#key-name")).to_have_value("typed for long")
        page.keyboard.press("Escape")
        expect(question).to_be_visible()
    question.get_by_role("button", name="Throw away").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect_focus(page, "create-key")
    assert "draft" not in kept(page)
    dialog = open_dialog(page)
    expect(dialog.locator("#key-name")).to_have_value("")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_a_draft_comes_back_until_it_is_sent_or_left_on_purpose(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill("half done")
    dialog.get_by_label("Anthropic").check()
    dialog.locator(".advanced summary").click()
    dialog.locator("#key-rate_limit_rpm").fill("60")
    page.reload()
    dialog = open_dialog(page)
    expect(dialog.locator("[role=status]", has_text="What you had typed here is back.")).to_be_visible()
    expect(dialog.locator("#key-name")).to_have_value("half done")
    expect(dialog.get_by_label("Anthropic")).to_be_checked()
    expect(dialog.locator("#key-rate_limit_rpm")).to_be_visible()
    dialog.get_by_role("button", name="Start afresh").click()
    expect(dialog.locator("#key-name")).to_have_value("")
    dialog.locator("#key-name").fill("left on purpose")
    dialog.get_by_text("Cancel").click()
    dialog = open_dialog(page)
    expect(dialog.locator("#key-name")).to_have_value("")
    dialog.locator("#key-name").fill("sent at last")
    dialog.locator("#key-spend_limit_usd").fill("much")
    dialog.get_by_role("button", name="Create key").click()
    dialog.locator("[aria-invalid]").first.wait_for()
    page.reload()  # a form that was refused is a draft still
    dialog = open_dialog(page)
    expect(dialog.locator("#key-name")).to_have_value("sent at last")
    dialog.locator("#key-spend_limit_usd").fill("5")
    dialog.get_by_role("button", name="Create key").click()
    dialog.locator("[data-saved]").click()
    assert "sent at last" not in kept(page)
    assert len(dashboard.api("GET", "/v1/keys?q=sent+at+last").json()["data"]) == 1


def test_a_draft_takes_back_nothing_that_others_changed(visit: Callable[..., Page], dashboard: Router) -> None:
    key_id, _ = dashboard.create_key(name="of two people", spend_limit_usd="5")
    page = visit()
    page.locator(f"#actions-{key_id}").click()
    dialog = open_dialog(page, f"#edit-{key_id}")
    dialog.locator("#key-name").fill("of two people, renamed")
    page.reload()
    dashboard.edit(key_id, spend_limit_usd="7")
    page.locator(f"#actions-{key_id}").click()
    dialog = open_dialog(page, f"#edit-{key_id}")
    expect(dialog.locator("#key-name")).to_have_value("of two people, renamed")
    expect(dialog.locator("#key-spend_limit_usd")).to_have_value("7.00")
    dialog.get_by_role("button", name="Save changes").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert dashboard.key(key_id)["spend_limit_usd"] == "7.00"


def test_no_draft_holds_a_secret(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    dialog = open_dialog(page)
    for secret in (keys.mint(keys.PROXY_TAG).raw, "sk-ant-api03-" + "x1" * 20, "AIza" + "x1" * 20):
        dialog.locator("#key-name").fill(f"it is {secret}")
        dialog.locator("#key-allowed_models").fill("gpt-4o*")
        assert "gpt-4o*" in kept(page)
        assert secret[-20:] not in kept(page)
    dialog.locator("#key-name").fill("task-force-one")
    assert "task-force-one" in kept(page)
    dialog.get_by_text("Cancel").click()
    page.goto(f"{dashboard.web_url}/account")
    page.locator("#new-password").fill("not to be kept")
    assert "not to be kept" not in kept(page)


def test_a_session_that_ends_in_a_dialog_costs_nothing(visit: Callable[..., Page], dashboard: Router) -> None:
    """FINDINGS D8: it is said, and after the login the dialog stands as it was left."""
    page = visit()
    page.goto(f"{dashboard.web_url}/keys?sort=name")
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill("typed for long")
    page.context.clear_cookies(name="session")
    dialog.get_by_role("button", name="Create key").click()
    told = dialog.locator(".toast-error")
    expect(told).to_contain_text("Your session has ended. Log in, and this form comes back with what you typed.")
    expect(dialog.locator("#key-name")).to_have_value("typed for long")
    told.get_by_role("link", name="Log in").click()
    log_in_again(page, dashboard)
    page.wait_for_url("**/keys?sort=name")
    dialog = page.locator("dialog[open]")
    expect(dialog.locator("#key-name")).to_have_value("typed for long")
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.locator("#secret")).to_have_value(SECRET)
    dialog.locator("[data-saved]").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    assert "draft" not in kept(page)


def test_a_session_that_ends_in_a_question_about_many_keys(visit: Callable[..., Page], dashboard: Router) -> None:
    """It has no address to come back to, and no dialog from before takes its place."""
    key_id, _ = dashboard.create_key(name="one of many")
    page = visit()
    open_dialog(page)
    page.keyboard.press("Escape")
    page.locator(f"#row-{key_id} [name=ids]").check()
    dialog = open_dialog(page, "#bulk-pause")
    page.context.clear_cookies(name="session")
    dialog.get_by_role("button", name="Pause").click()
    told = dialog.locator(".toast-error")
    expect(told).to_contain_text("Your session has ended. Log in, and choose again.")
    told.get_by_role("link", name="Log in").click()
    log_in_again(page, dashboard)
    page.wait_for_url("**/keys")
    expect(page.locator(f"#row-{key_id}")).to_contain_text("Active")
    page.wait_for_load_state("networkidle")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_a_session_that_ends_under_a_page_costs_nothing(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    page.goto(f"{dashboard.web_url}/keys/new")
    page.locator("#key-name").fill("typed on a page")
    page.context.clear_cookies(name="session")
    page.get_by_role("button", name="Create key").click()
    log_in_again(page, dashboard)
    page.wait_for_url("**/keys/new")
    expect(page.locator("#key-name")).to_have_value("typed on a page")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#secret")).to_have_value(SECRET)
    assert "typed on a page" not in kept(page)


def test_errors_in_a_dialog_are_told_there_and_tried_again(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill("tried again")
    failures: list[tuple[Callable[[Route], None], str]] = [
        (lambda route: route.fulfill(status=500, content_type="text/plain", body="It is logged."), "It is logged."),
        (lambda route: route.fulfill(status=413, content_type="text/plain", body="Too large."), "Too large."),
        (lambda route: route.fulfill(status=400, content_type="text/plain", body="Not clear."), "Not clear."),
        (lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad</h1>"), "failed to answer"),
        (lambda route: route.abort(), "could not be reached"),
        (lambda _: None, "took too long"),
    ]
    dialog.get_by_role("button", name="Create key").focus()
    for number, (fail, words) in enumerate(failures):
        page.evaluate("short => { htmx.config.timeout = short ? 200 : 20000 }", words == "took too long")
        page.route("**/keys/new", fail)
        dialog.get_by_role("button", name="Try again" if number else "Create key").click()
        expect(dialog.locator(".panel > .toast-error")).to_have_count(1)
        expect(dialog.locator(".panel > .toast-error")).to_contain_text(words)
        expect(dialog.locator("#key-name")).to_have_value("tried again")
        page.unroute("**/keys/new")
    page.evaluate("htmx.config.timeout = 20000")
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog.locator("#secret")).to_have_value(SECRET)
    expect(page.locator(".toast-error")).to_have_count(0)
    dialog.locator("[data-saved]").click()
    assert len(dashboard.api("GET", "/v1/keys?q=tried+again").json()["data"]) == 1


def test_being_offline_is_told_and_ends(visit: Callable[..., Page]) -> None:
    page = visit()
    line = page.locator("#offline")
    expect(line).to_be_hidden()
    page.context.set_offline(True)
    expect(line).to_contain_text("You are offline.")
    page.locator("#create-key").click()
    expect(page.locator(".toast-error")).to_contain_text("could not be reached")
    page.context.set_offline(False)
    expect(line).to_be_hidden()
    page.locator(".toast-error").get_by_role("button", name="Try again").click()
    expect(page.locator("dialog[open] #key-name")).to_be_visible()


def test_a_key_and_a_token_are_shown_once_however_often_the_page_is_loaded(
    visit: Callable[..., Page], dashboard: Router
) -> None:
    """FINDINGS D8: reloading a POST's answer, and going back from it, makes nothing new and hides nothing made."""
    page = visit(java_script_enabled=False)
    page.goto(f"{dashboard.web_url}/keys/new")
    page.locator("#key-name").fill("reloaded")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#secret")).to_have_value(SECRET)
    raw = page.locator("#secret").input_value()
    page.reload()
    expect(page.locator("h1")).to_have_text("This key exists already")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Create key")
    assert raw not in page.content()
    assert len(dashboard.api("GET", "/v1/keys?q=reloaded").json()["data"]) == 1
    page.goto(f"{dashboard.web_url}/settings")
    page.locator("#token-name").fill("reloaded token")
    page.get_by_role("button", name="Create token").click()
    expect(page.locator("h1")).to_have_text("Save this token now")
    page.reload()
    expect(page.locator(".conflict")).to_contain_text("This form made a token already")
    expect(page.locator("tbody tr", has_text="reloaded token")).to_have_count(1)
    assert "Nothing was saved" not in page.content()
