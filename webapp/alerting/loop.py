"""Runs the evaluator and the deliverer in the one process of a data directory that has the lock for it.

Every process of the dashboard starts this and waits for the lock, so when the one that has it dies, another goes on at
once. Other machines have a lock each: what they do at the same time is told apart by the database alone.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from shared.config import Settings
from webapp.alerting.deliverer import Deliverer, Target
from webapp.alerting.evaluator import Evaluator

log = logging.getLogger(__name__)

LOCK = "alerts.lock"
TICK_SECONDS = 1.0
SLOW_SECONDS = 2.0  # an attempt that takes longer puts its receiver among the slow ones
QUICK_LANES, SLOW_LANES = 8, 8
IN_A_ROW = 20  # messages to one receiver before the others have their turn
PAUSE_SECONDS = 10.0  # for a receiver that has just failed, whatever else is due for it


def start(app: Flask) -> None:
    """Begin in the background, for the life of this process."""
    threading.Thread(target=run, args=(app, threading.Event()), name="alerts", daemon=True).start()


def run(app: Flask, stop: threading.Event) -> None:
    """Wait for the lock, then look and deliver until told to stop."""
    settings: Settings = app.extensions["settings"]
    lock = _take(settings.data_dir / LOCK, stop)
    if lock is None:
        return
    try:
        evaluator, lanes = Evaluator(app, time.monotonic), Lanes(Deliverer(app))
        looking = threading.Thread(target=_repeat, args=(evaluator.look_if_due, stop), name="alerts-look", daemon=True)
        looking.start()
        _repeat(lanes.deliver_due, stop)
        looking.join()
    finally:
        os.close(lock)


def _take(path: Path, stop: threading.Event) -> int | None:
    """The lock, as soon as nobody else has it; None when told to stop before."""
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # The data directory may come back; until it does, nothing else of the router works either.
            log.warning("alerts wait: %s", (error.strerror or "").lower())
        else:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                return lock
        if stop.wait(TICK_SECONDS):
            return None


def _repeat(step: Callable[[], object], stop: threading.Event) -> None:
    """Take a step once a second, whatever becomes of any."""
    silent = False  # that the database does not answer was told already
    while True:
        try:
            step()
            silent = False
        except SQLAlchemyError as error:
            if not silent:
                log.warning("alerts wait for the database: %s", type(error).__name__)
            silent = True
        except Exception:  # A process edge: without this loop nobody would be told of anything any more.
            log.exception("alerts could not be looked after, and are tried again")
        if stop.wait(TICK_SECONDS):
            return


class Lanes:
    """Receivers side by side, each with one attempt at a time; the slow ones have lanes of their own.

    So a receiver that takes its time, or is away, holds up nobody but others of its kind.
    """

    def __init__(self, deliverer: Deliverer, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._deliverer = deliverer
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._busy: dict[Target, bool] = {}  # receivers with an attempt under way; whether in a slow lane
        self._slow: dict[Target, float] = {}  # until when a receiver that was slow or failed has nothing sent to it

    def deliver_due(self) -> None:
        """Begin with what is due, as far as there are lanes. Raises SQLAlchemyError."""
        for target in self._deliverer.due():
            if self._enter(target):
                threading.Thread(target=self._deliver, args=(target,), name="alerts-send", daemon=True).start()

    def _enter(self, target: Target) -> bool:
        with self._guard:
            slow = target in self._slow
            most = SLOW_LANES if slow else QUICK_LANES
            taken = sum(1 for lane in self._busy.values() if lane == slow)
            if target in self._busy or taken >= most or self._monotonic() < self._slow.get(target, 0.0):
                return False
            self._busy[target] = slow
            return True

    def _deliver(self, target: Target) -> None:
        try:
            for _ in range(IN_A_ROW):
                began = self._monotonic()
                delivered = self._deliverer.deliver_next(target)
                if delivered is None:
                    return
                self._judge(target, delivered=delivered, seconds=self._monotonic() - began)
                if not delivered:
                    return
        except SQLAlchemyError as error:
            log.warning("a message could not be marked, and is sent again: %s", type(error).__name__)
        except Exception:  # A process edge: the attempt ends here, and the next one is due by itself.
            log.exception("a message could not be sent, and is tried again")
        finally:
            with self._guard:
                del self._busy[target]

    def _judge(self, target: Target, *, delivered: bool, seconds: float) -> None:
        with self._guard:
            if not delivered:
                self._slow[target] = self._monotonic() + PAUSE_SECONDS
            elif seconds > SLOW_SECONDS:
                self._slow[target] = 0.0
            else:
                self._slow.pop(target, None)
