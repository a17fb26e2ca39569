"""Usage and Overview in Chromium: light and dark, wide and narrow, with and without JavaScript; and the guide that waits."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from harness import Router
from pages_kit import check
from playwright.sync_api import Page, expect
from sqlalchemy import Connection, insert

from shared import db
from shared.models import OrganizationRefusals, ProxyKey, Refusal, UsageDaily, UsageRecord
from webapp.views.refusal_help import help_of

pytestmark = pytest.mark.browser


@contextmanager
def writing(router: Router) -> Iterator[Connection]:
    """A transaction in the router's database, as the ledger writer has them."""
    engine = db.create(router.settings.database_url)
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection
    finally:
        engine.dispose()


def org_of(connection: Connection) -> str:
    row = connection.execute(ProxyKey.__table__.select().limit(1)).one()
    return str(row.org_id)


@pytest.fixture(scope="module")
def used(dashboard: Router) -> str:
    """A key that used something of many models on each of the last 30 days, and was refused; its id."""
    key_id, _ = dashboard.create_key(name="the dearest of all")
    now = datetime.now(UTC)
    with writing(dashboard) as connection:
        org_id = org_of(connection)
        sums = {"requests": 1_234, "input_tokens": 10**9, "output_tokens": 10**7, "org_id": org_id, "key_id": key_id}
        days = [(now - timedelta(days=back)).date() for back in range(30)]
        rows = [
            {
                "day": day,
                "provider": provider,
                "model": f"{provider}-model-{number}",
                "cost_nanos": 10**9 * (number + 1),
            }
            for day in days
            for provider in ("openai", "anthropic", "gemini")
            for number in range(3)
        ]
        connection.execute(insert(UsageDaily), [{**row, **sums} for row in rows])
        connection.execute(
            insert(OrganizationRefusals),
            [{"org_id": org_id, "day": day, "reason": "rate_limited", "count": 7} for day in days],
        )
    return key_id


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_it_works(visit: Callable[..., Page], dashboard: Router, used: str, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(f"{dashboard.web_url}/overview")
    expect(page.locator(".ranking li").first).to_contain_text("the dearest of all")
    expect(page.locator(".looks li")).to_have_count(5)
    check(page)
    for query in (
        "",
        "?group_by=key",
        "?group_by=model&metric=tokens&period=7d",
        "?period=last-month&group_by=provider",
    ):
        page.goto(f"{dashboard.web_url}/usage{query}")
        if "last-month" not in query:
            expect(page.locator("#chart")).to_be_visible()
            expect(page.locator(".drawing svg")).to_be_hidden()
        check(page)
    page.goto(f"{dashboard.web_url}/usage?period=today")
    page.locator("main summary").click()
    check(page)
    expect(page.locator("details tbody tr")).to_have_count(1)
    expect(page.locator("#refused")).to_contain_text(help_of("rate_limited").title)


def test_the_chart_follows_the_theme_and_tells_amounts(
    visit: Callable[..., Page], dashboard: Router, used: str
) -> None:
    page = visit(color_scheme="light")
    page.goto(f"{dashboard.web_url}/usage?period=7d")
    color = "Chart.getChart('chart').data.datasets[0].backgroundColor"
    assert page.evaluate(color) == "#1d4ed8"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => {color} === '#8fb1ff'")
    box = page.locator("#chart").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("() => Chart.getChart('chart').tooltip.opacity > 0")
    told = page.evaluate("Chart.getChart('chart').tooltip.body.map(part => part.lines).flat()")
    assert told == ["OpenAI: $6.00", "Anthropic: $6.00", "Gemini: $6.00"]


def test_without_javascript_the_server_has_drawn_it(visit: Callable[..., Page], dashboard: Router, used: str) -> None:
    page = visit(java_script_enabled=False)
    page.goto(f"{dashboard.web_url}/usage")
    expect(page.locator(".drawing svg")).to_be_visible()
    expect(page.locator(".drawing rect")).to_have_count(90)
    expect(page.locator("#chart")).to_be_hidden()
    page.get_by_role("link", name="Key", exact=True).click()
    expect(page.locator("table.sums").first).to_contain_text("the dearest of all")
    page.get_by_label("From", exact=True).fill("2026-01-01")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("From", exact=True)).to_have_value("2026-01-01")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert "the dearest of all" in download.value.path().read_text()


def test_the_guide_asks_only_while_somebody_looks(visit: Callable[..., Page], dashboard: Router) -> None:
    """By the clock of the page, which is moved by hand. An open page must not keep its session from ending."""
    page = visit()
    page.clock.install()
    page.goto(f"{dashboard.web_url}/overview")
    expect(page.locator("#first-request")).to_contain_text("Waiting for the first request")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/first-request" in request.url else None)

    def asks() -> None:
        with page.expect_response(re.compile("/first-request")):
            page.clock.run_for(2_000)

    def is_silent() -> None:
        asked.clear()
        page.clock.run_for(60_000)
        page.evaluate("fetch('/healthz')")
        assert asked == []

    asks()
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    is_silent()
    page.evaluate("Object.defineProperty(document, 'hidden', { value: false })")
    asks()
    page.clock.fast_forward(11 * 60_000)
    is_silent()
    page.keyboard.press("Shift")
    asks()


def test_the_guide_says_why_and_when_without_a_reload(visit: Callable[..., Page], dashboard: Router) -> None:
    page = visit()
    page.goto(f"{dashboard.web_url}/overview")
    guide = page.locator("#first-request")
    expect(guide).to_contain_text("Waiting for the first request")
    check(page)
    now = datetime.now(UTC)
    with writing(dashboard) as connection:
        org_id = org_of(connection)
        told = {"last_at": now, "count": 1, "status": 403, "sentence": "It is paused.", "request_id": "req_a"}
        connection.execute(insert(Refusal), {"key_id": "key_1", "reason": "key_paused", "org_id": org_id, **told})
    expect(guide).to_contain_text(help_of("key_paused").title, timeout=10_000)
    check(page)
    sent = {
        "id": "req_b", "org_id": org_id, "key_id": "key_1", "provider": "openai", "endpoint": "/v1/chat/completions",
        "requested_model": "gpt-4o-mini", "streamed": False, "outcome": "ok", "status": 200, "flags": [], "usage": {},
        "input_tokens": 3, "output_tokens": 2, "bound_nanos": 9, "cost_nanos": 1_650, "day": now.date(),
        "admitted_at": now, "duration_ms": 412,
    }  # fmt: skip
    with writing(dashboard) as connection:
        connection.execute(insert(UsageRecord), sent)
    expect(guide).to_contain_text("The first request has landed", timeout=10_000)
    expect(guide).to_contain_text("It cost $0.0000016")
    check(page)
