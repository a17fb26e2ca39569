"""Browsers as people call them, of what they say of themselves."""

import pytest

from webapp.pages.browser_words import browser_words

_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (f"{_WINDOWS} {_CHROME}", "Chrome 126 on Windows"),
        (f"{_WINDOWS} {_CHROME} Edg/126.0.2592.87", "Edge 126 on Windows"),
        (f"{_WINDOWS} {_CHROME} OPR/112.0.0.0", "Opera 112 on Windows"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {_CHROME.replace('Chrome', 'HeadlessChrome')}", "Chrome 126 on Linux"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_CHROME}", "Chrome 126 on ChromeOS"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME}", "Chrome 126 on Android"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox 128 on Linux"),
        (f"{_IPHONE} Version/17.5 Mobile/15E148 Safari/604.1", "Safari 17 on iPhone"),
        (f"{_IPHONE} CriOS/126.0.6478.153 Mobile/15E148 Safari/604.1", "Chrome 126 on iPhone"),
        (f"{_MAC} Version/17.5 Safari/605.1.15", "Safari 17 on macOS"),
        ("curl/8.5.0", "curl 8.5.0"),
        ("Firefox", "Firefox"),
        ("   ", "Unknown"),
        ("", "Unknown"),
        (None, "Unknown"),
    ],
)
def test_it_works(agent: str | None, words: str) -> None:
    assert browser_words(agent) == words
