"""`make pictures`: pictures of the dashboard as it runs, for the documentation.

A router with some keys and some traffic of the sandbox is started, and each page of the navigation is written to
docs/pictures/, named after its address. Nothing in them is anybody's; secrets are on none of these pages.
"""

import sys
import tempfile
from pathlib import Path

from calls import chat, generate, messages
from drivers import chromium, log_in
from harness import ROOT, Router, eventually

from webapp import render

WIDTH, HEIGHT = 1280, 800
MORE = (("Account", "/account"),)


def traffic(router: Router) -> None:
    """Keys as a company has them: used, capped, paused, near their limit, refused."""
    limits = {"spend_limit_usd": "20", "spend_reset": "weekly"}
    _, assistant = router.create_key(name="support-assistant", allowed_models=["gpt-4o*", "claude-*"], **limits)
    _, review = router.create_key(name="ci-code-review", rate_limit_rpm=60, allowed_providers=["anthropic"])
    _, search = router.create_key(name="product-search", spend_limit_usd="0.002", spend_reset="daily")
    router.create_key(name="intern-experiments", spend_limit_usd="5", spend_reset="monthly", paused=True)
    router.create_key(name="batch-translations", allowed_ips=["10.0.0.0/8"], spend_limit_usd="100")
    for number in range(6):
        chat(router, assistant, f"sandbox:words={40 + 20 * number} hello")
        messages(router, review, f"sandbox:words={30 + 10 * number} hello")
        generate(router, search, "sandbox:words=30 hello")
    chat(router, review, "hello")  # a provider that it may not use
    rows = 2 * 6
    eventually(lambda: router.api("GET", "/v1/usage").json()["total"]["requests"] >= rows)


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
                for _, address, *_ in (*render._NAVIGATION, *MORE):
                    page.goto(f"{router.web_url}{address}")
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=directory / f"{address.strip('/').replace('/', '-') or 'home'}.png")
                context.close()
        finally:
            router.stop_all()


if __name__ == "__main__":
    main(ROOT / "docs" / "pictures" if len(sys.argv) < 2 else Path(sys.argv[1]))
