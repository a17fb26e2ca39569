"""The management API: JSON over the same actions and the same validation as the pages.

Law of this package: it reads the request, calls an action or a query, and renders the answer. Each view says by its
mark which scope a token needs, what it takes and what it answers (`spec.operation`); OpenAPI comes of that.
"""

from flask import Blueprint

from webapp.api import (
    activity,
    alerts,
    audit,
    explain,
    forecast,
    hand_overs,
    health,
    invitations,
    keys,
    members,
    openapi,
    organization,
    prices,
    providers,
    tokens,
    usage,
    webhooks,
)

API: tuple[Blueprint, ...] = (
    keys.bp,
    usage.bp,
    explain.bp,
    forecast.bp,
    hand_overs.bp,
    activity.bp,
    audit.bp,
    members.bp,
    invitations.bp,
    tokens.bp,
    providers.bp,
    prices.bp,
    organization.bp,
    alerts.bp,
    alerts.keys,
    webhooks.bp,
    openapi.bp,
    health.bp,
)
