"""Takes a picture of every page and dialog from the running router: empty and full, light and dark, at four widths.

    make screenshots OUT=folder

They are for looking at, one by one, after a change of looks. Those of the documentation: `pictures.py`.
"""

import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from calls import chat, messages
from drivers import chromium, log_in
from harness import Router
from pages_kit import create
from places import LOGIN, PLACES, Place
from playwright.sync_api import Browser, Page

SIZES = ((360, 740), (768, 1024), (1280, 800), (1920, 1080))
SCHEMES = ("light", "dark")
# A name, what is set of it, and how many dollars it spends, at ten dollars a million tokens of output.
KEYS: tuple[tuple[str, dict[str, object], float], ...] = (
    ("legacy-importer", {}, 0.4),
    ("staging", {"paused": True, "allowed_ips": ["10.0.0.0/8", "2001:db8::/32"]}, 0),
    ("frozen until the audit", {"spend_limit_usd": "0"}, 0),
    ("search-index", {"allowed_models": ["text-embedding-*"], "allowed_providers": ["openai"]}, 0),
    ("mobile-app", {"spend_limit_usd": "5", "spend_reset": "daily", "rate_limit_rpm": 120}, 0.9),
    ("ci", {"spend_limit_usd": "0.5", "spend_reset": "daily"}, 0.48),
    ("data-science", {"allowed_models": ["gpt-4o*", "claude-*", "gemini-2.5-*"]}, 3.1),
    ("support-bot", {"spend_limit_usd": "2", "spend_reset": "weekly", "rate_limit_rpm": 600}, 1.75),
    ("billing-service", {"spend_limit_usd": "20", "spend_reset": "weekly", "allowed_models": ["gpt-4o*"], "model_limits": [
        {"model": "gpt-4o", "spend_limit_usd": "2.50", "spend_reset": "daily"},
        {"model": "openai/gpt-4o-mini*", "spend_limit_usd": "100"},
    ]}, 2.4),
)  # fmt: skip
_A_REQUEST_USD = 0.1


def fill(router: Router) -> None:
    """What a company has after a while: keys in every state, spend and refusals, members, tokens."""
    router.api("PATCH", "/v1/organization", json={"time_zone": "Europe/Berlin"}).raise_for_status()
    for name, fields, spends_usd in KEYS:
        soon = {"expires_at": (datetime.now(UTC) + timedelta(days=3)).isoformat()} if name == "mobile-app" else {}
        key_id, key = router.create_key(name=name, **fields, **soon)
        for number in range(round(spends_usd / _A_REQUEST_USD)):
            words = f"sandbox:words={10_000 - 37 * number}"
            chat(router, key, words, model="gpt-4o", max_tokens=10_000)
        messages(router, key)
        if name == "legacy-importer":
            router.api("DELETE", f"/v1/keys/{key_id}")
    for email, role in (
        ("ada@example.com", "admin"),
        ("grace@example.com", "member"),
        ("edsger@example.com", "viewer"),
    ):
        router.run("-m", "flask", "--app", "wsgi", "users", "create", email, "--role", role)
    further = {"label": "team b", "credential": "sandbox-of-team-b-0002"}
    router.api("POST", "/v1/providers/gemini/credentials", json=further).raise_for_status()
    for name in ("terraform", "nightly report"):
        router.api("POST", "/v1/tokens", json={"name": name, "scopes": ["keys:read", "usage:read"]})


def take(browser: Browser, router: Router, folder: Path, state: str, places: Iterable[Place]) -> None:
    """A picture of each place, in both themes and all sizes."""
    for scheme in SCHEMES:
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type] # one of the two words
        context.set_default_timeout(10_000)
        page = context.new_page()
        log_in(page, router)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for place in places:
                place.visit(page, router.web_url)
                _save(page, folder / f"{state}-{place.name}-{scheme}-{width}.png", whole=not place.clicks)
            if state == "full":
                page.goto(f"{router.web_url}/keys")
                dialog = create(page, f"made at {width}")
                _save(page, folder / f"{state}-key-created-dialog-{scheme}-{width}.png")
                dialog.locator("[data-saved]").click()
        page.goto(f"{router.web_url}/keys")
        page.set_viewport_size({"width": 1280, "height": 800})
        page.get_by_role("button", name="Log out").click()
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            LOGIN.visit(page, router.web_url)
            _save(page, folder / f"{state}-{LOGIN.name}-{scheme}-{width}.png")
        context.close()


def _save(page: Page, path: Path, *, whole: bool = False) -> None:
    page.screenshot(path=path, full_page=whole, animations="disabled", caret="hide")


# Dialogs of what somebody has to have made before.
_OF_WHAT_IS_THERE = (
    *(f"key-{one}" for one in ("edit", "raise", "rotate", "revoke", "page", "alerts")),
    "member-",
    "provider-credential-edit",
    "provider-credential-remove",
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        router = Router(home / "data", workers=1)
        stack.callback(router.stop_all)
        router.start_all()
        browser = stack.enter_context(chromium())
        take(
            browser,
            router,
            folder,
            "empty",
            [place for place in PLACES if not place.name.startswith(_OF_WHAT_IS_THERE)],
        )
        fill(router)
        take(browser, router, folder, "full", PLACES)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
