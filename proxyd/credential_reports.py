"""What workers hear of credentials, told to the database: for the dashboard, for alerts, and for later workers."""

from collections.abc import Callable

import gevent
from sqlalchemy import Engine, delete, insert, select

from proxyd.credentials import Credential, Told
from shared.models import CredentialRefusal, ProviderCredential

Write = Callable[[Credential, Told | None], object]


class CredentialRefusals:
    """Which credentials their providers refuse, in the database. Blocking; raises SQLAlchemyError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, credential: Credential, told: Told | None) -> None:
        """Tell what a provider said to a credential last.

        One that was deleted meanwhile, or replaced, is passed over: what was said to it is no news of another secret.
        """
        table, stored = CredentialRefusal.__table__, ProviderCredential.__table__
        with self._engine.begin() as connection:
            of_it = connection.execute(select(stored.c.created_at).where(stored.c.id == credential.id)).first()
            if of_it is None or of_it.created_at != credential.set_at:
                return
            connection.execute(delete(CredentialRefusal).where(table.c.credential_id == credential.id))
            if told is not None:
                row = {"credential_id": credential.id, "set_at": credential.set_at, "at": told.at}
                connection.execute(insert(CredentialRefusal).values(**row, status=told.status, words=told.words))


class CredentialReports:
    """Writes reports in the background, one at a time and in their order; of one credential the last one alone.

    However many there are, one thread at most is busy with them: others load keys. `write` must not raise.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: dict[Credential, Told | None] = {}
        self._running = False

    def __call__(self, credential: Credential, told: Told | None) -> None:
        """Write it soon."""
        self._waiting[credential] = told
        if not self._running:
            self._running = True
            gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            while self._waiting:
                credential = next(iter(self._waiting))
                self._write(credential, self._waiting.pop(credential))
        finally:
            self._running = False
