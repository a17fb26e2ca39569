"""The tables of both processes. Money is an integer of nano-dollars, time an aware UTC moment.

Rows do not leave the layer that loads them: the data plane takes `snapshot_of` them, the dashboard its views.
Ledger and audit rows are only ever inserted; triggers made by the first migration refuse anything else.
"""

from shared.models.key_lists import KeyNearLimit, KeySearch, UnchargedKey
from shared.models.ledger import (
    USAGE_CLASSES,
    AccountingState,
    JobBooking,
    JournalState,
    KeySpend,
    Machine,
    OrganizationRefusals,
    OrganizationUsage,
    PostedHolds,
    ProviderJob,
    Refusal,
    UsageDaily,
    UsageRecord,
)
from shared.models.people import Invitation, KnownPlace, User, UserSession
from shared.models.policy import (
    ADMIN_SCOPE,
    AGENT_LENGTH,
    ID_LENGTH,
    NAME_LENGTH,
    ROLES,
    SCOPES,
    AuditEvent,
    IdempotentCreation,
    KeySecret,
    ManagementToken,
    Organization,
    PolicyOutbox,
    PriceOverride,
    ProxyKey,
    Status,
    snapshot_of,
)
from shared.models.provider_credentials import (
    DEFAULT_LABEL,
    LABEL_LENGTH,
    MOST_WEIGHT,
    CredentialRefusal,
    ProviderCredential,
)

# The migration that made these tables as they stand here: the last of migrations/versions/.
REVISION = "0022"

__all__ = [
    "ADMIN_SCOPE",
    "AGENT_LENGTH",
    "DEFAULT_LABEL",
    "ID_LENGTH",
    "LABEL_LENGTH",
    "MOST_WEIGHT",
    "NAME_LENGTH",
    "REVISION",
    "ROLES",
    "SCOPES",
    "USAGE_CLASSES",
    "AccountingState",
    "AuditEvent",
    "CredentialRefusal",
    "IdempotentCreation",
    "Invitation",
    "JobBooking",
    "JournalState",
    "KeyNearLimit",
    "KeySearch",
    "KeySecret",
    "KeySpend",
    "KnownPlace",
    "Machine",
    "ManagementToken",
    "Organization",
    "OrganizationRefusals",
    "OrganizationUsage",
    "PolicyOutbox",
    "PostedHolds",
    "PriceOverride",
    "ProviderCredential",
    "ProviderJob",
    "ProxyKey",
    "Refusal",
    "Status",
    "UnchargedKey",
    "UsageDaily",
    "UsageRecord",
    "User",
    "UserSession",
    "snapshot_of",
]
