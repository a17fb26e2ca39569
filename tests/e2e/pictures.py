"""`make pictures`: pictures of the dashboard as it runs, for the documentation.

A router with some keys and some traffic of the sandbox is started, and each page that the documentation shows as
`pictures/NAME.png` is written there; NAME is its address. Nothing in them is anybody's; secrets are on none of these.
"""

import re
import sys
import tempfile
from pathlib import Path

from calls import chat, generate, messages
from drivers import chromium, log_in
from harness import ROOT, Router, eventually

from webapp import render

WIDTH, HEIGHT = 1280, 800


def wanted() -> dict[str, str]:
    """The pictures that the documentation shows, and the addresses of their pages."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        name for page in pages for name in re.findall(r"pictures/([a-z-]+)\.png", page.read_text(encoding="utf-8"))
    }
    known = {address.strip("/").replace("/", "-") or "home": address for _, address, *_ in render._NAVIGATION}
    return {name: known.get(name, f"/{name}") for name in sorted(shown)}


def traffic(router: Router) -> None:
    """Keys as a company has them: used, capped, paused, near their limit, refused."""
    weekly = {"spend_limit_usd": "2", "spend_reset": "weekly"}
    _, assistant = router.create_key(name="support-assistant", allowed_models=["gpt-4o*", "claude-*"], **weekly)
    _, review = router.create_key(name="ci-code-review", rate_limit_rpm=60, allowed_providers=["anthropic"])
    _, search = router.create_key(name="product-search", spend_limit_usd="0.25", spend_reset="daily")
    router.create_key(name="intern-experiments", spend_limit_usd="5", spend_reset="monthly", paused=True)
    router.create_key(name="batch-translations", allowed_ips=["10.0.0.0/8"], spend_limit_usd="100")
    asked = "sandbox:words=4000 hello"
    for _ in range(5):
        messages(router, assistant, asked, model="claude-opus-4-5", max_tokens=4_100)
        messages(router, review, "sandbox:words=700 hello", model="claude-sonnet-4-5", max_tokens=4_100)
        generate(router, search, asked, model="gemini-2.5-pro", generationConfig={"maxOutputTokens": 4_100})
    chat(router, assistant, "sandbox:words=300 hello", model="gpt-4o")
    chat(router, review, "hello")  # a provider that it may not use
    eventually(lambda: router.api("GET", "/v1/usage").json()["total"]["requests"] >= 16)


def main(directory: Path) -> None:
    """Write them all."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="router-pictures-") as home:
        router = Router(Path(home) / "data", workers=1)
        try:
            router.start_all()
            traffic(router)
            with chromium() as browser:
                context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page = context.new_page()
                log_in(page, router)
                for name, address in wanted().items():
                    page.goto(f"{router.web_url}{address}")
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=directory / f"{name}.png")
                context.close()
        finally:
            router.stop_all()


if __name__ == "__main__":
    main(ROOT / "docs" / "pictures" if len(sys.argv) < 2 else Path(sys.argv[1]))
