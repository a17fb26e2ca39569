"""A secret that is pasted into the search of any page stays in no address, whatever box and whatever secret."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from flask.testing import FlaskClient
from forms_kit import HTMX

TEMPLATES = Path(__file__).parents[2] / "templates"
BOX = re.compile(r'name="(\w+)" type="search"')
PAGES = {
    "/keys": "keys.html",
    "/requests": "requests.html",
    "/requests/refused": "requests.html",
    "/audit": "audit.html",
    "/providers/models": "models.html",
}
REST = "0123456789" * 6
OURS = f"sk-proxy-a1b2{REST}"
WIDE = "".join(chr(ord(character) + 0xFEE0) for character in OURS)  # which NFKC makes OURS again


def boxes(template: str) -> list[str]:
    return BOX.findall((TEMPLATES / template).read_text(encoding="utf-8"))


def test_each_page_with_a_search_is_tried_here() -> None:
    assert {path.name for path in TEMPLATES.glob("*.html") if boxes(path.name)} == set(PAGES.values())


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("secret", [OURS, f"Bearer {OURS}", WIDE, f"sk-ant-api03-{REST}"])
def test_it_works(enter: Callable[[str], FlaskClient], path: str, secret: str) -> None:
    client = enter("admin")
    for box in boxes(PAGES[path]):
        whole = client.get(path, query_string={box: secret})
        assert whole.status_code == 303, box
        assert_unsaid(whole.headers["Location"])
        assert client.get(whole.headers["Location"]).status_code == 200  # and not once more
        part = client.get(path, query_string={box: secret}, headers=HTMX)
        assert part.status_code == 200
        assert_unsaid(part.headers.get("HX-Replace-Url") or part.headers["HX-Push-Url"])
        assert_unsaid(part.text)


def test_what_is_shown_everywhere_of_a_key_of_ours_is_searched_for(enter: Callable[[str], FlaskClient]) -> None:
    told = enter("viewer").get("/providers/models", query_string={"q": OURS, "provider": "openai", "own": "yes"})
    assert told.headers["Location"] == "/providers/models?q=sk-proxy-a1b2&provider=openai&own=yes"


def assert_unsaid(text: str) -> None:
    assert REST[:12] not in unicodedata.normalize("NFKC", unquote_plus(text))
