"""The app for a WSGI server or the `flask` command: there, or one sentence and an exit status."""

import os
import sys

from flask import Flask

from shared.config import SettingError
from webapp import create_app

_MISUSE = 2
# gunicorn starts a worker again unless it ends with this status, which means "the app cannot be loaded".
_GUNICORN_GIVES_UP = 4


def app_or_exit() -> Flask:
    """The app; when a setting makes no sense, a sentence on standard error and the end of the process."""
    try:
        return create_app()
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        under_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn")
        sys.exit(_GUNICORN_GIVES_UP if under_gunicorn else _MISUSE)
