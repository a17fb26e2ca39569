"""What the tests of the pages share: sending a form as a browser would, and looking behind the pages."""

import re
from html import unescape

from shared.models import ProxyKey
from webapp.db import db

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://localhost/keys"}
SECRET = re.compile(r"sk-proxy-[0-9a-f]{64}")


def hidden(page, name):
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found is not None, f"no hidden field {name}"
    return unescape(found[1])


def submit(client, path, *, htmx=False, form_of=None, **fields):
    """Send the form that `path` shows, with its hidden fields, as the browser would."""
    page = form_of or client.get(path)
    for name in ("csrf_token", "nonce", "version", "seen"):
        if f'name="{name}"' in page.text:
            fields.setdefault(name, hidden(page, name))
    return client.post(path, data=fields, headers=HTMX if htmx else {})


def stored(app, key_id):
    """The row of a key."""
    with app.app_context():
        return db.session.get(ProxyKey, key_id)


def count(app, table):
    with app.app_context():
        return db.session.query(table).count()
