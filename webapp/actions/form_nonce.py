"""A form of the dashboard that shows a secret works once, however often it is sent."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask_sqlalchemy.session import Session
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import scoped_session

from shared.models import IdempotentCreation
from webapp.context import Conflict, now
from webapp.db import writing


@contextmanager
def writing_once(org_id: str, what: str, once: str | None, message: str) -> Iterator[scoped_session[Session]]:
    """A transaction that is made once for `once`, a word that was made up for one form; None: for nothing.

    `what` tells forms of one kind from others. Raises Conflict "form_used" with the message the second time.
    """
    try:
        with writing() as session:
            if once is not None:
                used = IdempotentCreation(org_id=org_id, idempotency_key=f"{what}-form-{once}", created_id="")
                used.request_digest, used.created_at = "", now()
                session.add(used)
                session.flush()
            yield session
    except IntegrityError:
        if once is None:
            raise
        raise Conflict("form_used", message) from None
