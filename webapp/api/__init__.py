"""The management API: JSON over the same actions and the same validation as the pages.

Law of this package: it reads the request, calls an action or a query, and renders the answer. Each view says by its
mark which scope a token needs.
"""

from flask import Blueprint

from webapp.api import explain, health, keys, openapi

API: tuple[Blueprint, ...] = (keys.bp, explain.bp, openapi.bp, health.bp)
