"""The tables of both processes. Money is an integer of nano-dollars, time an aware UTC moment.

Rows do not leave the layer that loads them: the data plane takes `snapshot_of` them, the dashboard its views.
Ledger and audit rows are only ever inserted; triggers made by the first migration refuse anything else.

Tables that no worker of the data plane asks for are loaded when somebody imports one of them from here: they would take
1.3 MB of each worker.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData

from shared.db import Base
from shared.models.custom_providers import CustomProvider
from shared.models.hand_overs import HandOver
from shared.models.jobs import JobBooking, ProviderJob
from shared.models.ledger import (
    USAGE_CLASSES,
    AccountingState,
    JournalState,
    KeySpend,
    Machine,
    ModelSpend,
    OrganizationRefusals,
    OrganizationSeed,
    OrganizationUsage,
    PostedHolds,
    Refusal,
    UsageDaily,
    UsageRecord,
)
from shared.models.policy import (
    ADMIN_SCOPE,
    AGENT_LENGTH,
    EMAIL_LENGTH,
    ID_LENGTH,
    NAME_LENGTH,
    NOTE_LENGTH,
    ROLES,
    SCOPES,
    TAG_LENGTH,
    ZONE_LENGTH,
    AuditEvent,
    IdempotentCreation,
    KeySecret,
    ManagementToken,
    Organization,
    PolicyOutbox,
    ProxyKey,
    Status,
    boost_of,
    limit_of,
    limits_of,
    snapshot_of,
)
from shared.models.prices import PriceOverride
from shared.models.provider_credentials import (
    DEFAULT_LABEL,
    LABEL_LENGTH,
    MOST_WEIGHT,
    CredentialRefusal,
    ProviderCredential,
)

if TYPE_CHECKING:
    from shared.models.alerts import (
        TARGET_LENGTH,
        Alert,
        AlertDelivery,
        AlertRules,
        KeyAlertRules,
        RefusalSample,
        Webhook,
    )
    from shared.models.key_lists import KeyNearLimit, KeySearch, UnchargedKey
    from shared.models.labels import KeyTag, LabelUsage, OrganizationLabels, TagUsage
    from shared.models.people import Identity, Invitation, KnownPlace, User, UserSession

# The migration that made these tables as they stand here: the last of migrations/versions/.
REVISION = "0031"

# What those modules hold that are loaded late.
_LATE = {
    "alerts": ("TARGET_LENGTH", "Alert", "AlertDelivery", "AlertRules", "KeyAlertRules", "RefusalSample", "Webhook"),
    "key_lists": ("KeyNearLimit", "KeySearch", "UnchargedKey"),
    "labels": ("KeyTag", "LabelUsage", "OrganizationLabels", "TagUsage"),
    "people": ("Identity", "Invitation", "KnownPlace", "User", "UserSession"),
}
_MODULES = {name: f"{__name__}.{module}" for module, names in _LATE.items() for name in names}

__all__ = [
    "ADMIN_SCOPE",
    "AGENT_LENGTH",
    "DEFAULT_LABEL",
    "EMAIL_LENGTH",
    "ID_LENGTH",
    "LABEL_LENGTH",
    "MOST_WEIGHT",
    "NAME_LENGTH",
    "NOTE_LENGTH",
    "REVISION",
    "ROLES",
    "SCOPES",
    "TAG_LENGTH",
    "TARGET_LENGTH",
    "USAGE_CLASSES",
    "ZONE_LENGTH",
    "AccountingState",
    "Alert",
    "AlertDelivery",
    "AlertRules",
    "AuditEvent",
    "CredentialRefusal",
    "CustomProvider",
    "HandOver",
    "IdempotentCreation",
    "Identity",
    "Invitation",
    "JobBooking",
    "JournalState",
    "KeyAlertRules",
    "KeyNearLimit",
    "KeySearch",
    "KeySecret",
    "KeySpend",
    "KeyTag",
    "KnownPlace",
    "LabelUsage",
    "Machine",
    "ManagementToken",
    "ModelSpend",
    "Organization",
    "OrganizationLabels",
    "OrganizationRefusals",
    "OrganizationSeed",
    "OrganizationUsage",
    "PolicyOutbox",
    "PostedHolds",
    "PriceOverride",
    "ProviderCredential",
    "ProviderJob",
    "ProxyKey",
    "Refusal",
    "RefusalSample",
    "Status",
    "TagUsage",
    "UnchargedKey",
    "UsageDaily",
    "UsageRecord",
    "User",
    "UserSession",
    "Webhook",
    "boost_of",
    "limit_of",
    "limits_of",
    "metadata",
    "snapshot_of",
]


if not TYPE_CHECKING:  # else every name would be one of this module

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def metadata() -> MetaData:
    """All tables, also those that are loaded late."""
    for module in _MODULES.values():
        import_module(module)
    return Base.metadata
