"""The doctor looks beyond its own machine's files: at what the ledger lacks, at metrics, at addresses and certificates."""

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import self_signed
from flask import Flask

from proxyd.accounting import frames
from shared.config import Bind, Settings
from shared.models import JournalState
from webapp.db import writing
from webapp.doctor import Finding
from webapp.doctor_addresses import look_at_addresses
from webapp.doctor_ledger import look_at_ledger, look_at_metrics

WORKER = "01W"
READ, BEGUN, ENDED = (frames.frame(1, kind, b"[1, 2]") for kind in (frames.END, frames.BEGIN, frames.END))
ROOM = b"\0" * 1000
NOW = datetime.now(UTC)


@contextmanager
def serving(body: bytes, status: int = 200, certificate: tuple[Path, Path] | None = None) -> Iterator[int]:
    """A server of one answer, on the port that it yields."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # a connection that is kept can be asked for its certificate

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # who does not trust us hangs up
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate[1], certificate[0])
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


# The ledger


@pytest.fixture
def journal(app: Flask, settings: Settings) -> Path:
    """A journal of which the ledger has one END; behind it something has begun."""
    directory = settings.data_dir / "journals"
    directory.mkdir(exist_ok=True)
    with app.app_context(), writing() as session:
        session.add(
            JournalState(
                worker_id=WORKER, machine="machine_1", generation=1, segment=1, position=len(READ), end_number=1, cut_end_number=0,
                registered_at=NOW,
            )
        )  # fmt: skip
    path = directory / f"{WORKER}.00000001.journal"
    path.write_bytes(READ + BEGUN + ROOM)
    return path


def of_ledger(app: Flask, settings: Settings, pause: Callable[[float], None] = lambda _: None) -> Finding:
    with app.app_context():
        (found,) = look_at_ledger(settings, pause)
    return found


@pytest.mark.usefixtures("keeper")
def test_it_works(app: Flask, settings: Settings, journal: Path) -> None:
    assert of_ledger(app, settings) == Finding("ledger", "ok", "It has all that the journals tell.")


@pytest.mark.usefixtures("keeper")
def test_what_nobody_posts_is_a_fault(app: Flask, settings: Settings, journal: Path) -> None:
    journal.write_bytes(READ + BEGUN + ENDED + BEGUN + ENDED + ROOM)
    journal.with_name(f"{WORKER}.00000002.journal").write_bytes(ENDED + ENDED[:-1])
    found = of_ledger(app, settings)
    assert found.state == "fault"
    assert found.message.startswith("It lacks 3 requests that ended, and nothing was posted within 2 s.")


@pytest.mark.usefixtures("keeper")
def test_what_is_being_posted_is_none(app: Flask, settings: Settings, journal: Path) -> None:
    journal.write_bytes(READ + ENDED + ENDED + ROOM)

    def post(_: float) -> None:
        with app.app_context(), writing() as session:
            state = session.get(JournalState, WORKER)
            assert state is not None
            state.position += len(ENDED)

    assert of_ledger(app, settings, post).message == "What the journals tell is being posted."


def test_what_lies_there_without_a_proxy_is_told(app: Flask, settings: Settings, journal: Path) -> None:
    journal.write_bytes(READ + ENDED + ROOM)
    found = of_ledger(app, settings)
    assert (found.state, found.message) == (
        "warning", "It lacks 1 request that ended. A proxy on this data directory brings home what there is.",
    )  # fmt: skip


# The metrics

METRICS = "# TYPE router_ledger_lag_seconds gauge\nrouter_ledger_lag_seconds {}\nrouter_journal_pending_requests 12.0\n"


@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        (METRICS.format("0.21"), "ok", "They are at http://127.0.0.1:"),
        (METRICS.format("1.2e+02"), "fault", "The ledger is 120 s behind, by 12 requests at least."),
        ("hello", "fault", "is not this router. Set another ROUTER_METRICS_BIND."),
    ],
)
def test_metrics_tell_of_the_ledger(settings: Settings, body: str, state: str, words: str) -> None:
    with serving(body.encode()) as port:
        (found,) = look_at_metrics(replace(settings, metrics_bind=Bind("127.0.0.1", port)))
    assert (found.state, words in found.message) == (state, True)


def test_metrics_that_are_off_or_not_there(settings: Settings) -> None:
    assert [found.state for found in look_at_metrics(settings)] == ["ok"]
    (found,) = look_at_metrics(replace(settings, metrics_bind=Bind("127.0.0.1", 1)))
    assert (found.state, found.message.partition(". ")[0]) == (
        "warning",
        "Nothing answers at http://127.0.0.1:1/metrics",
    )


# Addresses


def of_addresses(settings: Settings, now: datetime = NOW, *, offline: bool = False) -> list[Finding]:
    return list(look_at_addresses(settings, now, offline=offline))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://10.1.2.3", "http://router", "http://[::1]:1", "http://localhost:1"]
)
def test_private_networks_need_no_tls(settings: Settings, url: str) -> None:
    assert [found.state for found in of_addresses(replace(settings, public_url=url), offline=True)] == ["ok"]


def test_secrets_in_clear_are_told(settings: Settings) -> None:
    urls = {**settings.provider_urls, "openai": "http://gateway.example.com/v"}
    found = of_addresses(replace(settings, provider_urls=urls, public_url="http://llm.example.com"), offline=True)
    assert [(one.state, one.message) for one in found] == [
        ("warning", "ROUTER_PUBLIC_URL is not https: keys and passwords can be read on the way to llm.example.com."),
        (
            "warning",
            "ROUTER_OPENAI_URL is not https: the provider's credential can be read on the way to gateway.example.com.",
        ),
    ]


def test_tls_in_front_wants_its_proxy_to_be_known(settings: Settings) -> None:
    (found,) = of_addresses(replace(settings, dashboard_url="https://router.example.com"), offline=True)
    assert found.message.startswith("ROUTER_DASHBOARD_URL is https, so a proxy stands in front")


def test_an_address_that_leads_nowhere_is_told(settings: Settings) -> None:
    (found,) = of_addresses(replace(settings, public_url="http://127.0.0.1:1"))
    assert found.message.startswith("ROUTER_PUBLIC_URL: nothing answers at http://127.0.0.1:1")
    with serving(b"", 404) as port:
        (found,) = of_addresses(replace(settings, public_url=f"http://127.0.0.1:{port}"))
    assert found.message.endswith("/healthz answers with 404: does it lead here?")


def test_certificates_are_looked_at(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = self_signed(tmp_path)  # good for a day
    environ = {"ROUTER_DATA_DIR": str(settings.data_dir), "ROUTER_TRUSTED_PROXIES": "127.0.0.1"}
    trusted = Settings.from_env(environ).trusted_proxies
    with serving(b"ok", certificate=files) as port:
        secure = replace(settings, public_url=f"https://localhost:{port}", trusted_proxies=trusted)
        (found,) = of_addresses(secure)
        assert (found.state, "TLS with https://localhost" in found.message) == ("fault", True)
        assert "for clients too: self" in found.message  # "self signed" or "self-signed", as OpenSSL's release has it
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[1]))
        (found,) = of_addresses(secure)
        assert (found.state, "ends on" in found.message) == ("warning", True)
        assert [one.state for one in of_addresses(secure, NOW - timedelta(days=30))] == ["ok"]
