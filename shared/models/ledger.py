"""What was used: the ledger, its sums, and how far journals and counters stand against it."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Date, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, PartialIndex, UtcDateTime
from shared.labels import LABEL_LENGTH
from shared.models.policy import ID_LENGTH


class UsageRecord(Base):
    """The ledger: one row for each attempt that was sent to a provider. Inserted once, never changed.

    What an attempt had been charged as an estimate is corrected by a further row, an adjustment, which names it in
    `adjusts`. It costs the difference, less than nothing where the estimate was too high, and is no request.
    """

    __tablename__ = "usage_records"
    __table_args__ = (
        Index("ix_usage_records_key_id_admitted_at", "key_id", "admitted_at"),
        Index("ix_usage_records_org_id_admitted_at", "org_id", "admitted_at"),
        # Of the few rows that adjust another, so that all others pay nothing for it.
        PartialIndex(
            "ix_usage_records_adjusts",
            "adjusts",
            where="adjusts IS NOT NULL",
        ),
        # Of the few rows whose credential a provider refused, likewise.
        PartialIndex(
            "ix_usage_records_credential_refused",
            "org_id",
            "admitted_at",
            where="status IN (401, 403)",
            info={"large": True},  # on PostgreSQL no migration builds it, but `webapp.large_indexes`
        ),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # the attempt's id
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    key_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    provider: Mapped[str] = mapped_column(String(32))
    endpoint: Mapped[str] = mapped_column(String(64))
    requested_model: Mapped[str | None] = mapped_column(String(255))
    served_model: Mapped[str | None] = mapped_column(String(255))
    service_tier: Mapped[str | None] = mapped_column(String(32))
    streamed: Mapped[bool]
    status: Mapped[int | None]  # the provider's HTTP status; None when it gave none
    outcome: Mapped[str] = mapped_column(String(32))  # one of proxyd.accounting.records.OUTCOMES
    flags: Mapped[list[str]] = mapped_column(JSON)  # estimated, overrun, crash, unpriced, ...
    usage: Mapped[dict[str, int]] = mapped_column(JSON)  # token class -> count, by genai-prices' names
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # what it was priced by; None = unpriced
    bound_nanos: Mapped[int] = mapped_column(BigInteger)
    cost_nanos: Mapped[int] = mapped_column(BigInteger)
    day: Mapped[date] = mapped_column(Date)  # of admission, in the organisation's time zone, to which the cost belongs
    admitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int]  # from the head of the request until what it cost was known
    provider_request_id: Mapped[str | None] = mapped_column(String(128))
    client_ip: Mapped[str | None] = mapped_column(String(45))
    adjusts: Mapped[str | None] = mapped_column(String(64))  # the id of the attempt whose estimate it corrects
    first_byte_ms: Mapped[int | None]  # from the same moment until the provider's answer began
    sent_status: Mapped[int | None]  # HTTP status of the answer that the client was given; None: it was given none
    label: Mapped[str | None] = mapped_column(String(LABEL_LENGTH))  # the client's own, of `x-router-tag`
    # The credentials that were tried for it, in order, where there is a choice; see `proxyd.accounting.records.Try`.
    tried: Mapped[list[dict[str, str | None]] | None] = mapped_column(JSON(none_as_null=True))


# Tokens that are priced by themselves and shown beside the others; they are among the input and output tokens.
USAGE_CLASSES = (
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_reasoning_tokens",
)


class UsageSums:
    """What is summed up of the ledger's rows. Classes are counted since revision 0009."""

    requests: Mapped[int] = mapped_column(BigInteger)
    input_tokens: Mapped[int] = mapped_column(BigInteger)
    output_tokens: Mapped[int] = mapped_column(BigInteger)
    cost_nanos: Mapped[int] = mapped_column(BigInteger)
    cache_read_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    cache_write_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    input_audio_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    input_image_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    output_audio_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    output_image_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    output_reasoning_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class UsageDaily(UsageSums, Base):
    """Sums of the ledger by day, key, provider and model, kept in the same transaction as its rows."""

    __tablename__ = "usage_daily"
    __table_args__ = (Index("ix_usage_daily_org_id_day", "org_id", "day"),)

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)  # served, else requested, else ""
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))


class OrganizationUsage(UsageSums, Base):
    """The same of all keys of an organisation: triggers keep it beside the daily sums of its keys."""

    __tablename__ = "organization_usage"

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)


class OrganizationSeed(Base):
    """What an organisation that has limits had cost when generation `generation` was cut: counters begin with it.

    By day and (`day` 1970-01-01) in all. All rows are made anew with each generation.
    """

    __tablename__ = "organization_seeds"

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    nanos: Mapped[int] = mapped_column(BigInteger)


class KeySpend(Base):
    """What a key has cost, by day and (`day` 1970-01-01) in all; written with the ledger's rows.

    `base_nanos` is the total as it was when generation `generation` was cut, so that counters of that generation can
    be seeded from one indexed read while imports go on.
    """

    __tablename__ = "key_spend"
    __table_args__ = (
        # Of the totals alone: keys in the order of what they have cost.
        PartialIndex(
            "ix_key_spend_total_nanos",
            "total_nanos",
            "key_id",
            where="day = '1970-01-01'",
        ),
        # Of each day alone: the keys that cost most on it.
        PartialIndex(
            "ix_key_spend_day_total_nanos",
            "day",
            "total_nanos",
            "key_id",
            where="day > '1970-01-01'",
        ),
    )

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    base_nanos: Mapped[int] = mapped_column(BigInteger)
    total_nanos: Mapped[int] = mapped_column(BigInteger)


class ModelSpend(Base):
    """What a key that has, or had, spend limits for models has cost, by model as it was asked for; as `KeySpend`.

    It is written from the first such limit of the key on, which adds up what the ledger has of it by then.
    """

    __tablename__ = "model_spend"

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    base_nanos: Mapped[int] = mapped_column(BigInteger)
    total_nanos: Mapped[int] = mapped_column(BigInteger)


class Refusal(Base):
    """How often a key was refused for a reason, and what its last such request was told. No money depends on it.

    A row for each pair, whatever is refused: it is counted up. Of all machines that count, the latest has the rest.
    """

    __tablename__ = "refusals"
    __table_args__ = (
        # An organisation's refusals, the latest first; the same for one reason; and one by what its client was told.
        Index("ix_refusals_org_id_last_at", "org_id", "last_at", "key_id", "reason"),
        Index("ix_refusals_org_id_reason_last_at", "org_id", "reason", "last_at", "key_id"),
        Index("ix_refusals_request_id", "request_id"),
    )

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    reason: Mapped[str] = mapped_column(String(40), primary_key=True)  # a `shared.policy.Reason`
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    count: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int]
    sentence: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(String(255))  # as asked for, where that was known
    client_ip: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str] = mapped_column(String(64))


class OrganizationRefusals(Base):
    """How often an organisation's keys were refused for a reason, by day. Counted since revision 0016."""

    __tablename__ = "organization_refusals"

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)  # in the organisation's time zone
    reason: Mapped[str] = mapped_column(String(40), primary_key=True)  # a `shared.policy.Reason`
    count: Mapped[int] = mapped_column(BigInteger)


class AccountingState(Base):
    """One row: the generation of the counters, raised whenever they are built anew; and whose they are.

    Counters up to the generation `outdated` were told nothing of something that was posted, or keep no row of an
    organisation that was set since: new ones have to be made. Those up to `outdated_for_models` know not all that
    counts against a limit for models that was set since: of these, new ones are made now and then. `model_limits` says
    whether any key has, or had, such a limit.
    `installation` was drawn when the database was made, and goes where its rows go. 0 is none.
    """

    __tablename__ = "accounting_state"

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    outdated: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    outdated_for_models: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    model_limits: Mapped[bool] = mapped_column(default=False, server_default=false())
    installation: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Machine(Base):
    """A data directory that shares its counters with others, and when it was last heard of.

    `generation` is that of the counters it goes by; 0 once it has ended in good order.
    """

    __tablename__ = "machines"

    machine: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    posted_at: Mapped[datetime] = mapped_column(UtcDateTime)  # by the database's clock


class PostedHolds(Base):
    """What a worker held when its machine last told: it stands for the truth while that machine is away."""

    __tablename__ = "posted_holds"

    worker_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    # Key, day as an ordinal, nano-dollars, requests, organisation; the rows of limits for models, if there are any.
    holds: Mapped[list[list[Any]]] = mapped_column(JSON)


class JournalState(Base):
    """How far a worker's journal has been imported into the ledger, and where the present generation was cut.

    `segment` and `position` say from where the next import reads, `end_number` which END it has seen last;
    `cut_end_number` is what that was when the generation was raised. `closed_at` is set once everything is in.
    `imported_at` is set when a copy of the journal was brought home because its machine was given up: what was open in
    the copy is charged as an estimate, no counters wait for this worker any more, and nobody may admit in its name.
    """

    __tablename__ = "journals"
    __table_args__ = (Index("ix_journals_closed_at", "closed_at"),)

    worker_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    machine: Mapped[str] = mapped_column(String(ID_LENGTH))  # the data directory it lies in
    generation: Mapped[int] = mapped_column(BigInteger)  # in which the worker registered
    segment: Mapped[int]
    position: Mapped[int] = mapped_column(BigInteger)
    end_number: Mapped[int] = mapped_column(BigInteger)
    cut_end_number: Mapped[int] = mapped_column(BigInteger)
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    imported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
