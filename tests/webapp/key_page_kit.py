"""What somebody reads on the page of a key."""

import re
from html import unescape

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.views.keys import KeyView


def text_of(page: TestResponse) -> str:
    """What somebody reads: without tags, each run of space as one."""
    assert page.status_code == 200, page.text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def shown(client: FlaskClient, key: KeyView) -> str:
    return text_of(client.get(f"/keys/{key.id}"))
