"""`python -m proxyd`: read the settings, then run the worker pool until it is told to stop."""

import logging
import sys

from proxyd import app, pool
from shared.config import SettingError, Settings


def main() -> int:
    """Exit status 2 and one sentence on standard error when a setting makes no sense."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_env()
    except SettingError as error:
        sys.stderr.write(f"proxyd: {error}\n")
        return 2
    return pool.serve(
        str(settings.proxy_bind),
        settings.proxy_workers,
        lambda: app.parts(Settings.from_env()),  # read anew by a reload
        check=Settings.from_env,
    )
