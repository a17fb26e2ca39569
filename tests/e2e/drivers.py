"""Two ways to manage keys, with the same words: the dashboard in Chromium, and the JSON endpoints."""

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from harness import Router
from machine import find
from playwright.sync_api import Browser, Locator, Page, sync_playwright

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP plain.test 127.0.0.1",  # an address that is no secure context, as 127.0.0.1 is
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. Without one the test is skipped, and fails in CI."""
    path = find("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Page, router: Router, web_url: str = "") -> None:
    """Log in as the administrator, at `web_url` if the dashboard has another address."""
    page.goto(f"{web_url or router.web_url}/login?next=/keys")
    email, password = router.admin
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name=re.compile("log in|sign in", re.IGNORECASE)).click()
    page.wait_for_url("**/keys")


def session_of(router: Router) -> requests.Session:
    """A logged-in browser without JavaScript."""
    session = requests.Session()
    session.headers["Origin"] = router.web_url
    email, password = router.admin
    page = session.get(f"{router.web_url}/login", timeout=10)
    data = {"email": email, "password": password, "csrf_token": token_in(page)}
    session.post(f"{router.web_url}/login", data=data, timeout=10).raise_for_status()
    return session


def token_in(page: requests.Response) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def choose(page: Page, action: str, key_id: str) -> None:
    """Open the menu of a row and take something of it."""
    page.locator(f"#actions-{key_id}").click()
    page.locator(f"#{action}-{key_id}").click()


def unique(name: str) -> str:
    return f"{name} {uuid.uuid4().hex[:8]}"


class ByApi:
    """Automation with a management token."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def create(self, **fields: Any) -> tuple[str, str]:
        fields.setdefault("name", unique("api"))
        return self._router.create_key(**fields)

    def edit(self, key_id: str, **fields: Any) -> None:
        self._router.edit(key_id, **fields)

    def revoke(self, key_id: str) -> None:
        response = self._router.api("DELETE", f"/v1/keys/{key_id}")
        assert response.status_code == 200, response.text

    def status(self, key_id: str) -> str:
        status: str = self._router.key(key_id)["status"]
        return status

    def names(self) -> set[str]:
        return {key["name"] for key in self._router.api("GET", "/v1/keys?limit=200").json()["data"]}


class ByPage:
    """A member of staff at the API Keys page."""

    def __init__(self, router: Router, page: Page) -> None:
        self._router = router
        self.page = page
        log_in(page, router)

    def create(self, **fields: Any) -> tuple[str, str]:
        name = fields.setdefault("name", unique("page"))
        self.page.goto(f"{self._router.web_url}/keys")
        self.page.locator("#create-key").click()
        dialog = self.page.locator("dialog[open]")
        self._fill(dialog, fields)
        dialog.get_by_role("button", name="Create key").click()
        secret = dialog.locator("#secret")
        secret.wait_for()
        raw = secret.input_value()
        dialog.locator("[data-saved]").click()
        dialog.wait_for(state="hidden")
        row = self.page.locator("tr", has_text=name)
        row.wait_for()
        return (row.get_attribute("id") or "").removeprefix("row-"), raw

    def edit(self, key_id: str, **fields: Any) -> None:
        self._show(key_id)
        choose(self.page, "edit", key_id)
        dialog = self.page.locator("dialog[open]")
        self._fill(dialog, fields)
        save = dialog.get_by_role("button", name="Save changes")
        save.click()
        # A limit below what is spent is asked about once; a second click says that it is meant.
        settled = self.page.locator("body:not(:has(dialog[open])), dialog[open] .conflict")
        settled.first.wait_for(state="attached")
        if dialog.count():
            save.click()
        dialog.wait_for(state="hidden")

    def revoke(self, key_id: str) -> None:
        self._show(key_id)
        choose(self.page, "revoke", key_id)
        dialog = self.page.locator("dialog[open]")
        dialog.get_by_role("button", name="Revoke key").click()
        dialog.wait_for(state="hidden")

    def status(self, key_id: str) -> str:
        self._show(key_id)
        return self.page.locator(f"#row-{key_id} .pill").inner_text().split(".")[0].strip().lower()

    def names(self) -> set[str]:
        self.page.goto(f"{self._router.web_url}/keys?limit=100&status=all")
        return set(self.page.locator(".key-name").all_inner_texts())

    def _show(self, key_id: str) -> None:
        name = self._router.key(key_id)["name"]
        self.page.goto(f"{self._router.web_url}/keys?status=all&q={name.replace(' ', '+')}")
        self.page.locator(f"#row-{key_id}").wait_for()

    def _fill(self, dialog: Locator, fields: Mapping[str, Any]) -> None:
        dialog.locator("#key-name").wait_for()
        if {"rate_limit_rpm", "allowed_ips"} & fields.keys() and not dialog.locator("details.advanced[open]").count():
            dialog.locator("details.advanced summary").click()
        for field, value in fields.items():
            if field == "allowed_providers":
                for box in dialog.locator("input[name=allowed_providers]").all():
                    box.set_checked(box.get_attribute("value") in value)
            elif field == "paused":
                dialog.locator("#key-paused").set_checked(value)
            elif field == "spend_reset":
                dialog.locator("#key-spend_reset").select_option(value)
            elif field == "expires":
                dialog.locator("#key-expires").select_option(value)
            else:
                text = "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)
                dialog.locator(f"#key-{field}").fill(text)


Staff = ByApi | ByPage
