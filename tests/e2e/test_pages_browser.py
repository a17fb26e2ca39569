"""The pages in Chromium, served by the real dashboard: dialogs, focus, the secret, accessibility, small screens."""

import re
from collections.abc import Callable

import pytest
from harness import Router
from pages_kit import check, create, expect_focus, open_dialog
from playwright.sync_api import Dialog, Page, expect

pytestmark = pytest.mark.browser
SECRET = re.compile(r"^sk-proxy-[0-9a-f]{64}$")


def test_it_works(visit: Callable[..., Page]) -> None:
    page = visit()
    dialog = open_dialog(page)
    expect_focus(page, "key-name")
    dialog.locator("#key-name").fill("in the browser")
    dialog.locator("#key-spend_limit_usd").fill("20")
    dialog.get_by_role("button", name="Create key").click()
    secret = dialog.locator("#secret")
    expect(secret).to_have_value(SECRET)
    expect_focus(page, "secret")
    raw = secret.input_value()
    assert page.evaluate("getSelection().toString()") == raw
    dialog.locator("[data-saved]").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect_focus(page, "create-key")
    expect(page.locator("tbody tr").first).to_contain_text("in the browser")
    expect(page.locator(".toast-ok")).to_contain_text("Key created.")
    assert raw not in page.content()
    assert page.url.endswith("/keys")
    assert raw not in page.evaluate(
        "JSON.stringify([localStorage, sessionStorage, history.state, performance.getEntries()])"
    )


def test_the_secret_is_put_away_only_on_purpose(visit: Callable[..., Page]) -> None:
    page = visit()
    dialog = create(page, "kept in sight")
    for _ in range(4):
        page.keyboard.press("Escape")
    page.mouse.click(5, 5)
    expect(dialog.locator("#secret")).to_be_visible()
    asked = []

    def dismiss(question: Dialog) -> None:
        asked.append(question.type)
        question.dismiss()

    page.on("dialog", dismiss)
    with page.expect_event("dialog"):
        page.evaluate("setTimeout(() => location.assign('/settings'))")
    assert asked == ["beforeunload"]
    expect(dialog.locator("#secret")).to_be_visible()
    dialog.locator("[data-saved]").click()
    page.goto(page.url.replace("/keys", "/settings"))
    assert asked == ["beforeunload"]


@pytest.mark.parametrize(("allowed", "words"), [(True, "Copied."), (False, "did not allow copying")])
def test_copying_without_the_clipboard_api_says_what_happened(
    visit: Callable[..., Page], allowed: bool, words: str
) -> None:
    page = visit()
    page.evaluate(
        """allowed => {
            Object.defineProperty(navigator, "clipboard", { value: undefined });
            const really = document.execCommand.bind(document);
            document.execCommand = (name) => allowed && really(name);
        }""",
        allowed,
    )
    dialog = create(page, "copied")
    secret = dialog.locator("#secret")
    dialog.locator("[data-copy='#secret']").click()
    expect(dialog.locator("#secret-copied")).to_contain_text(words)
    assert page.evaluate("getSelection().toString()") == secret.input_value()
    dialog.get_by_text("curl", exact=True).click()
    dialog.locator("[data-copy='#new-snippet-curl']").click()
    expect(dialog.locator(".snippet:visible [data-copied]")).to_contain_text(words)
    assert secret.input_value() in page.evaluate("getSelection().toString()")
    dialog.locator("[data-saved]").click()


def test_errors_take_the_focus_and_link_to_their_fields(visit: Callable[..., Page]) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill("kept")
    dialog.locator(".advanced summary").click()
    dialog.locator("#key-rate_limit_rpm").fill("many")
    dialog.locator("#key-allowed_ips").fill("10.0.0.1/8")
    dialog.get_by_role("button", name="Create key").click()
    dialog.locator("[aria-invalid]").first.wait_for()
    expect(dialog.locator("#key-name")).to_have_value("kept")
    expect_focus(page, "key-rate_limit_rpm")
    dialog.locator(".summary").get_by_text("Allowed IP addresses").click()
    expect_focus(page, "key-allowed_ips")
    described = dialog.locator("#key-allowed_ips").get_attribute("aria-describedby") or ""
    assert "did you mean 10.0.0.0/8?" in " ".join(page.locator(f"#{name}").inner_text() for name in described.split())
    check(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Throw away").click()
    expect_focus(page, "create-key")


def test_hints_come_while_typing(visit: Callable[..., Page]) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator("#key-allowed_models").fill("gpt-4o*\nfoo-9")
    hints = dialog.locator("#model-hints")
    expect(hints).to_contain_text(re.compile(r"matches \d+ known models"))
    expect(hints).to_contain_text("foo-9 matches no model")
    dialog.get_by_label("Anthropic").check()
    expect(hints).to_contain_text("gpt-4o* matches no model")
    dialog.locator(".advanced summary").click()
    dialog.get_by_role("button", name="Add my address").click()
    expect(dialog.locator("#key-allowed_ips")).to_have_value("127.0.0.1")


def test_the_way_past_the_menu_moves_nothing(visit: Callable[..., Page]) -> None:
    """Else who has pressed Tab and clicks misses: the link goes as soon as the button of the mouse is down."""
    page = visit()
    main = page.locator("main")
    before = main.bounding_box()
    page.keyboard.press("Tab")
    link = page.locator("a[href='#main']")
    expect(link).to_be_focused()
    box = link.bounding_box()
    assert box
    assert box["width"] > 50
    assert main.bounding_box() == before
    page.keyboard.press("Enter")
    expect(main).to_be_focused()


def test_edit_and_revoke_by_keyboard_alone(visit: Callable[..., Page], dashboard: Router) -> None:
    key_id, _ = dashboard.create_key(name="by keyboard")
    page = visit()

    def choose(steps: int) -> None:
        """Open the menu of the row and go so far down in it."""
        page.keyboard.press("Enter")
        for _ in range(steps):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")

    page.locator(f"#actions-{key_id}").focus()
    choose(1)
    page.locator("dialog[open] #key-name").wait_for()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("renamed by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator(f"#row-{key_id}")).to_contain_text("renamed by keyboard")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect_focus(page, f"actions-{key_id}")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect_focus(page, f"edit-{key_id}")
    page.keyboard.press("Escape")
    expect_focus(page, f"actions-{key_id}")
    expect(page.locator("details.pop[open]")).to_have_count(0)
    choose(4)
    page.locator("dialog[open] .facts").wait_for()
    expect_focus(page, "Cancel")
    page.keyboard.press("Enter")
    assert dashboard.key(key_id)["status"] == "active"
    expect_focus(page, f"actions-{key_id}")
    choose(4)
    page.locator("dialog[open] .facts").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(f"#row-{key_id} .pill")).to_contain_text("Revoked")
    assert dashboard.key(key_id)["status"] == "revoked"


def test_pause_and_resume_by_the_menu(visit: Callable[..., Page], dashboard: Router) -> None:
    key_id, _ = dashboard.create_key(name="paused by click")
    page = visit()
    button, badge = page.locator(f"#pause-{key_id}"), page.locator(f"#row-{key_id} .pill")
    for label, status in (("Paused", "paused"), ("Active", "active")):
        page.locator(f"#actions-{key_id}").click()
        button.focus()
        page.keyboard.press("Enter")
        expect(badge).to_contain_text(label)
        expect_focus(page, f"actions-{key_id}")
        assert dashboard.key(key_id)["status"] == status
    expect(page.locator(".toast-ok").last).to_contain_text("Resumed paused by click.")
    assert page.url.endswith("/keys")
    # The second click of a double click, which comes when the button says the opposite already.
    page.evaluate("sent = 0; addEventListener('submit', () => sent++, true)")
    button.dispatch_event("click", {"detail": 2})
    assert page.evaluate("sent") == 0
    button.dispatch_event("click", {"detail": 1})
    assert page.evaluate("sent") == 1
    expect(badge).to_contain_text("Paused")


def test_a_double_click_makes_one_key(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    dialog = open_dialog(page)
    dialog.locator("#key-name").fill("double click")
    dialog.get_by_role("button", name="Create key").dblclick()
    expect(dialog.locator("#secret")).to_have_value(SECRET)
    assert len(dashboard.api("GET", "/v1/keys?q=double+click").json()["data"]) == 1
    dialog.locator("[data-saved]").click()


def test_search_keeps_its_address_and_its_focus(visit: Callable[..., Page]) -> None:
    page = visit()
    for text in ("fro", "zen"):  # a pause after each, and one step of the history for both
        page.locator("#q").press_sequentially(text)
        expect(page).to_have_url(re.compile(rf"/keys\?q={'frozen' if text == 'zen' else text}$"))
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#count")).to_have_text("1 key")
    expect_focus(page, "q")
    page.go_back()
    expect(page).to_have_url(re.compile("/keys$"))
    expect(page.locator("tbody tr").nth(1)).to_be_visible()


def test_a_lost_session_leads_to_login_and_back(visit: Callable[..., Page]) -> None:
    page = visit()
    page.context.clear_cookies()
    page.locator("#create-key").click()
    page.wait_for_url("**/login?next=/keys")


def test_an_unreachable_server_is_told(visit: Callable[..., Page]) -> None:
    page = visit()
    page.route("**/keys/new", lambda route: route.fulfill(status=503, content_type="text/plain", body="Not now."))
    page.locator("#create-key").click()
    expect(page.locator(".toast-error")).to_contain_text("Not now.")
    page.locator(".toast-error [data-dismiss]").click()
    expect(page.locator(".toast-error")).to_have_count(0)


def test_everything_works_without_javascript(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit(java_script_enabled=False)
    page.locator("#create-key").click()
    page.locator("#key-name").fill("")
    page.locator("#key-spend_limit_usd").fill("1.5")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#key-name-error")).to_contain_text("Must not be empty.")
    expect(page.locator("#key-spend_limit_usd")).to_have_value("1.5")
    page.locator("#key-name").fill("without javascript")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#secret")).to_have_value(SECRET)
    expect(page.locator("#new-snippet-openai")).to_be_visible()
    page.locator("label[for=new-tab-curl]").click()
    expect(page.locator("#new-snippet-curl")).to_be_visible()
    page.get_by_text("I have saved this key").click()
    row = page.locator("tr", has_text="without javascript")
    row.locator(".menu summary").click()
    row.get_by_role("button", name="Pause").click()
    expect(page.locator("#toasts")).to_contain_text("Paused without javascript.")
    row.locator(".menu summary").click()
    row.get_by_role("button", name="Resume").click()
    expect(row.locator(".pill")).to_contain_text("Active")
    row.locator(".menu summary").click()
    row.get_by_text("Edit").click()
    page.locator("#key-name").fill("still without")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#toasts")).to_contain_text("Saved still without.")
    row = page.locator("tr", has_text="still without")
    row.locator(".menu summary").click()
    row.get_by_text("Revoke").click()
    page.get_by_role("button", name="Revoke key").click()
    expect(page.locator("#toasts")).to_contain_text("Revoked still without.")
    expect(row).to_have_count(0)
    page.locator("select[name=status]").select_option("revoked")
    page.get_by_role("button", name="Apply").click()
    expect(row.locator(".pill")).to_contain_text("Revoked")
    page.goto(f"{dashboard.web_url}/keys")
    page.locator("#q").fill("frozen")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login$"))
