"""Guesses at links that need no login: invitations, and secrets that were handed over. Counted together, by network."""

import logging

from flask import current_app

from shared.counters import CountersUnavailable, Guarded, LoginThrottle
from webapp.actions.login import network_of
from webapp.context import Conflict

log = logging.getLogger(__name__)

# Nobody finds one by guessing; this keeps those who try out of the database.
_FREE_GUESSES, _LONGEST_WAIT_SECONDS = 20, 60.0


def count_guess(ip: str | None) -> None:
    """Count that somebody opened a link that there is none of. Raises Conflict "throttled" after many of them.

    A good link never has to wait, whoever else guesses from the same network.
    """
    throttle: LoginThrottle = current_app.extensions["login_throttle"]
    try:
        tried = throttle.attempt([Guarded(f"links from {network_of(ip)}", _FREE_GUESSES, _LONGEST_WAIT_SECONDS)])
    except CountersUnavailable as error:
        log.warning("unknown links are not counted: %s", error)
        return
    if not tried.admitted:
        raise Conflict("throttled", "Too many links that open nothing came from your network. Wait a minute.")
