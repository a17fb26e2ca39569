"""The pages: HTTP only. Each module reads a request, calls one action or query, and renders; it decides nothing else.

To add a page: a module with its blueprint `bp` here, a line in PAGES, and a template of the same name if it shows
something of its own.
"""

from flask import Blueprint

from webapp.pages import (
    account,
    audit,
    credentials,
    docs,
    home,
    invitation,
    key_bulk,
    key_create,
    key_edit,
    key_page,
    key_pause,
    key_revoke,
    key_rotate,
    keys,
    login,
    members,
    organization,
    overview,
    prices,
    providers,
    requests,
    settings,
    theme,
    tokens,
    usage,
    usage_files,
)

PAGES: tuple[Blueprint, ...] = (
    home.bp,
    login.bp,
    overview.bp,
    invitation.bp,
    keys.bp,
    key_bulk.bp,
    key_create.bp,
    key_page.bp,
    key_edit.bp,
    key_pause.bp,
    key_revoke.bp,
    key_rotate.bp,
    usage.bp,
    usage_files.bp,
    providers.bp,
    credentials.bp,
    prices.bp,
    settings.bp,
    organization.bp,
    tokens.bp,
    members.bp,
    account.bp,
    theme.bp,
    docs.bp,
    requests.bp,
    audit.bp,
)
