"""The providers' own keys, sealed, and what their providers say of them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime
from shared.models.policy import ID_LENGTH

DEFAULT_LABEL = "default"  # of the credential that the environment sets
LABEL_LENGTH = 40
MOST_WEIGHT = 100  # and the largest number of a priority


class ProviderCredential(Base):
    """A provider's own key, sealed. `label` and `last4` are what people recognise it by.

    Of several of one provider the lowest `priority` goes first, and of those with the same one each gets requests by
    its `weight`. `created_at` is when the secret was stored that it has now.
    """

    __tablename__ = "provider_credentials"
    __table_args__ = (
        UniqueConstraint("org_id", "provider", "label"),
        CheckConstraint("weight between 1 and 100", name="weight"),
        CheckConstraint("priority between 1 and 100", name="priority"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    provider: Mapped[str] = mapped_column(String(32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    last4: Mapped[str] = mapped_column(String(4))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))
    label: Mapped[str] = mapped_column(String(LABEL_LENGTH), default=DEFAULT_LABEL, server_default=DEFAULT_LABEL)
    weight: Mapped[int] = mapped_column(default=1, server_default="1")
    priority: Mapped[int] = mapped_column(default=1, server_default="1")
    enabled: Mapped[bool] = mapped_column(default=True, server_default=true())


class CredentialRefusal(Base):
    """What a provider said to a credential that it does not take. Gone when it takes it again.

    It is about the secret that was stored at `set_at`, and means nothing to one that has replaced it.
    """

    __tablename__ = "credential_refusals"

    credential_id: Mapped[str] = mapped_column(
        ForeignKey("provider_credentials.id", ondelete="CASCADE"), primary_key=True
    )
    set_at: Mapped[datetime] = mapped_column(UtcDateTime)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int]
    words: Mapped[str] = mapped_column(Text)  # the provider's own, without the credential
