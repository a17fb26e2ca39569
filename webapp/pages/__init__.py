"""The pages: HTTP only. Each module reads a request, calls one action or query, and renders; it decides nothing else.

To add a page: a module with its blueprint `bp` here, a line in PAGES, and a template of the same name if it shows
something of its own.
"""

from flask import Blueprint

from webapp.pages import (
    account,
    docs,
    home,
    invitation,
    key_create,
    key_edit,
    key_pause,
    key_revoke,
    keys,
    login,
    members,
    organization,
    prices,
    providers,
    settings,
    tokens,
)

PAGES: tuple[Blueprint, ...] = (
    home.bp,
    login.bp,
    invitation.bp,
    keys.bp,
    key_create.bp,
    key_edit.bp,
    key_pause.bp,
    key_revoke.bp,
    providers.bp,
    prices.bp,
    settings.bp,
    organization.bp,
    tokens.bp,
    members.bp,
    account.bp,
    docs.bp,
)
