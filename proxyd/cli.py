"""`python -m proxyd`: read the settings, then run the worker pool until it is told to stop."""

import logging
import os
import sys

from proxyd import app, pool
from proxyd.readiness import Readiness
from proxyd.server.listen import BindError, check_free
from proxyd.writer_process import WriterProcess
from shared.config import SettingError, Settings
from shared.counters_probe import check_counters
from shared.database_probe import check_database


def main() -> int:
    """Exit status 2 and one sentence on standard error when a setting cannot work."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_env()
        # First: the look-up of an address starts an event loop, which forks badly.
        check_database(settings, filled=True)
        check_counters(settings)
        _check_binds(settings)
        _check_log(settings)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    present, readiness = [settings], Readiness()

    def read_anew() -> None:
        present[0] = Settings.from_env()

    # A worker that takes the place of a dead one does not judge them again: whatever has become of the disk meanwhile,
    # its slot's connections must be answered.
    return pool.serve(
        str(settings.proxy_bind),
        settings.proxy_workers,
        lambda: app.parts(present[0], readiness),
        check=read_anew,  # by a reload
        writer=WriterProcess(),
    )


def _check_binds(settings: Settings) -> None:
    """Asked here as well, because only here it is known which variable is to blame."""
    for name, bind in (("ROUTER_PROXY_BIND", settings.proxy_bind), ("ROUTER_METRICS_BIND", settings.metrics_bind)):
        try:
            if bind is not None:
                check_free(str(bind))
        except BindError as error:
            raise SettingError(f"{name}: {error}. Is the router running already?") from None


def _check_log(settings: Settings) -> None:
    """Whether requests can be written down where that is asked for; the file is made by this."""
    path = settings.request_log_path
    if settings.request_log is None or path is None:
        return
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise SettingError(f"ROUTER_REQUEST_LOG_PATH: {path} cannot be written: {reason}.") from None
