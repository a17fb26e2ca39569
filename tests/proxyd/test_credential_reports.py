"""What the database is told of credentials that a provider refuses."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import gevent
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from proxyd.credential_reports import CredentialRefusals, CredentialReports
from proxyd.credentials import Credential, Told
from shared.models import CredentialRefusal, ProviderCredential

SET_AT = datetime(2026, 3, 1, tzinfo=UTC)


def one(name: str) -> Credential:
    return Credential(name, f"secret-of-{name}", SET_AT)


def test_the_database_is_told(any_engine: Engine) -> None:
    store = CredentialRefusals(any_engine)
    a = one("cred_a")
    told = Told(datetime(2026, 3, 2, tzinfo=UTC), 401, "Incorrect API key")
    store.write(a, told)  # it was deleted meanwhile
    row = ProviderCredential(
        id=a.id, org_id="org_1", provider="openai", sealed=b"x", last4="edit", created_at=SET_AT, created_by="t"
    )
    with Session(any_engine) as session:
        assert session.scalars(select(CredentialRefusal)).all() == []
        session.add(row)
        session.commit()
    for words in ("first", "second"):
        store.write(a, told._replace(words=words))
        with Session(any_engine) as session:
            (found,) = session.scalars(select(CredentialRefusal)).all()
            assert (found.status, found.words, found.at, found.set_at) == (401, words, told.at, SET_AT)
    store.write(a, None)
    with Session(any_engine) as session:
        assert session.scalars(select(CredentialRefusal)).all() == []
    replaced = replace(a, secret="another one", set_at=SET_AT - timedelta(days=1))
    store.write(replaced, told)  # an answer to what was sent with the secret before
    with Session(any_engine) as session:
        assert session.scalars(select(CredentialRefusal)).all() == []
    store.write(a, told)
    store.write(replaced, None)
    with Session(any_engine) as session:
        assert [row.set_at for row in session.scalars(select(CredentialRefusal))] == [SET_AT]


def test_reports_are_written_in_their_order_by_one_greenlet() -> None:
    """Two of one credential that come while a write runs are one, which says the last."""
    written: list[tuple[str, bool]] = []
    running = most = 0

    def write(credential: Credential, told: Told | None) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        gevent.sleep(0)
        written.append((credential.id, told is not None))
        running -= 1

    reports, told = CredentialReports(write), Told(SET_AT, 401, "")
    a, b = one("a"), one("b")
    reports(a, told)
    gevent.sleep(0)  # it is being written
    for credential, said in ((a, None), (b, told), (a, told), (b, None)):
        reports(credential, said)
    for _ in range(10):
        gevent.sleep(0)
    assert (written, most) == ([("a", True), ("a", True), ("b", False)], 1)
    reports(b, told)
    for _ in range(3):
        gevent.sleep(0)
    assert written[3:] == [("b", True)]
