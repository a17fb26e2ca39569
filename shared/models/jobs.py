"""Work at providers that is billed later, and who books its results."""

from datetime import date, datetime

from sqlalchemy import Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime
from shared.labels import LABEL_LENGTH
from shared.models.policy import ID_LENGTH


class ProviderJob(Base):
    """Work at a provider that is billed later: a background response, a batch. Whom its results are charged to.

    Written before whoever began it is told its name. `results` is the provider's name of the file that they come in,
    once it was told. Prices and period are those of `admitted_at`.
    """

    __tablename__ = "provider_jobs"
    __table_args__ = (
        Index("ix_provider_jobs_results", "org_id", "provider", "results"),
        Index("ix_provider_jobs_admitted_at", "admitted_at"),
    )

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    job: Mapped[str] = mapped_column(String(255), primary_key=True)  # the provider's name of it
    key_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    endpoint: Mapped[str] = mapped_column(String(64))  # that it was begun at
    works_as: Mapped[str | None] = mapped_column(String(64))  # the endpoint whose answers its results are
    model: Mapped[str | None] = mapped_column(String(255))  # that was asked for, if one was
    batch: Mapped[bool]  # billed by the prices of batches
    day: Mapped[date] = mapped_column(Date)  # of admission, in the organisation's time zone
    admitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    client_ip: Mapped[str | None] = mapped_column(String(45))
    results: Mapped[str | None] = mapped_column(String(255))
    label: Mapped[str | None] = mapped_column(String(LABEL_LENGTH))  # that its results are booked under
    # That it was begun with, and is asked for with as long as it is used; it may have been removed.
    credential_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))


class JobBooking(Base):
    """Who has taken it upon himself to book a result of a provider's job, so that nobody else does.

    A worker that died may have left some undone: what it took is free again once its journal is closed and has no row
    of it. `id` is that of the ledger's row; `written` is set once it stands in the journal.
    """

    __tablename__ = "job_bookings"
    __table_args__ = (Index("ix_job_bookings_taken_at", "taken_at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(ID_LENGTH))  # whose journal tells of it
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    written: Mapped[bool]
