"""Which addresses examples say: those that are set, else those that the browser's own leads to."""

from dataclasses import replace

import pytest
from flask import Flask

from shared.config import Bind
from webapp.addresses import dashboard_url, proxy_url


@pytest.mark.parametrize(
    ("host", "bind", "proxy", "dashboard"),
    [
        ("localhost:8000", "127.0.0.1", "http://localhost:8080", "http://localhost:8000"),
        ("dash.example", "0.0.0.0", "http://dash.example:8080", "http://dash.example"),
        ("10.1.2.3:8000", "127.0.0.1", "http://10.1.2.3:8080", "http://10.1.2.3:8000"),
        ("[2001:db8::1]:8000", "::", "http://[2001:db8::1]:8080", "http://[2001:db8::1]:8000"),
        ("dash.example", "10.9.8.7", "http://10.9.8.7:8080", "http://dash.example"),
        ("a$(id)b", "127.0.0.1", "http://127.0.0.1:8080", "http://127.0.0.1:8000"),
        ("[", "127.0.0.1", "http://127.0.0.1:8080", "http://127.0.0.1:8000"),
    ],
)
def test_it_works(app: Flask, host: str, bind: str, proxy: str, dashboard: str) -> None:
    app.extensions["settings"] = replace(app.extensions["settings"], proxy_bind=Bind(bind, 8080))
    with app.test_request_context(headers={"Host": host, "X-Forwarded-Host": "evil.test"}):
        assert (proxy_url(), dashboard_url()) == (proxy, dashboard)


def test_what_is_set_counts(app: Flask) -> None:
    urls = {"public_url": "https://llm.example", "dashboard_url": "https://dash.example"}
    app.extensions["settings"] = replace(app.extensions["settings"], **urls)
    with app.test_request_context(headers={"Host": "elsewhere.example"}):
        assert (proxy_url(), dashboard_url()) == ("https://llm.example", "https://dash.example")
