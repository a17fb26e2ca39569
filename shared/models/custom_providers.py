"""Providers that organisations have added: servers that speak OpenAI's dialect."""

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime
from shared.models.policy import ID_LENGTH


class CustomProvider(Base):
    """A provider of an organisation's own. Its credentials, prices and rows of the ledger name it by `name`.

    So the name is never edited. The row of one that is removed stays: by it requests for its models are refused, and
    its name is given to no other.
    """

    __tablename__ = "custom_providers"
    __table_args__ = (
        UniqueConstraint("org_id", "name"),
        CheckConstraint("auth in ('bearer', 'api-key', 'none')", name="auth"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(32))
    base_url: Mapped[str] = mapped_column(String(500))  # as an SDK takes it, version and all
    auth: Mapped[str] = mapped_column(String(16))  # how its credential goes
    api_version: Mapped[str | None] = mapped_column(String(40))  # into the query of each request, as Azure wants it
    models: Mapped[list[str]] = mapped_column(JSON)  # names and globs; empty: any
    stream_options: Mapped[bool] = mapped_column(default=True, server_default=true())  # False: it refuses that field
    enabled: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
