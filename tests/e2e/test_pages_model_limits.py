"""Limits for models in the dialog of a key: rows that are added and taken away without a reload."""

from collections.abc import Callable

import pytest
from harness import Router
from pages_kit import expect_focus, open_dialog
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_rows_are_added_and_taken_away(visit: Callable[..., Page], dashboard: Router) -> None:
    key_id, _ = dashboard.create_key(name="rows", model_limits=[{"model": "gpt-4o*", "spend_limit_usd": "5"}])
    page = visit()
    page.goto(f"{dashboard.web_url}/keys/{key_id}")
    page.locator("#edit").click()
    dialog = page.locator("#modal")
    rows = dialog.locator(".limit-row")
    expect(rows).to_have_count(2)
    dialog.get_by_role("button", name="Add a limit").click()
    expect(rows).to_have_count(3)
    rows.nth(2).get_by_label("Models, as a pattern").fill("anthropic/*")
    rows.nth(2).get_by_label("The most that may be spent").fill("2.50")
    rows.nth(2).get_by_label("Resets").select_option("monthly")
    rows.nth(0).get_by_role("button", name="Remove this limit").click()
    expect(rows).to_have_count(2)
    dialog.get_by_role("button", name="Save changes").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    (limit,) = dashboard.key(key_id)["model_limits"]
    told = limit["model"], limit["spend_limit_usd"], limit["spend_reset"]
    assert told == ("anthropic/*", "2.50", "monthly")


def test_the_last_row_leaves_the_focus_where_another_is_added(visit: Callable[..., Page]) -> None:
    dialog = open_dialog(visit())
    dialog.locator("#key-model_limits summary").click()
    dialog.get_by_role("button", name="Remove this limit").click()
    expect(dialog.locator(".limit-row")).to_have_count(0)
    expect_focus(dialog.page, "add-model-limit")
