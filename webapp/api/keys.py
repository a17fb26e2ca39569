"""`/v1/keys`: create, list, read, edit, pause and revoke proxy keys."""

from typing import Any

from flask import Blueprint, Response, request

from webapp.access import current_actor
from webapp.actions import keys as actions
from webapp.actions.bulk import Outcome, change_many
from webapp.actions.rotation import rotate_key
from webapp.api.answers import answer, if_version
from webapp.api.problems import problem_of
from webapp.api.spec import operation
from webapp.queries.keys import get_key, list_keys
from webapp.schemas.bulk import BulkChange, BulkResult, BulkResults
from webapp.schemas.headers import IdempotencyKey, IfMatch, IfNoneMatch
from webapp.schemas.keys import CreatedKey, Key, KeyList, KeyPatch, NewKey, Secret
from webapp.schemas.lists import KeyQuery
from webapp.schemas.rotation import RotatedKey, Rotation
from webapp.views.keys import KeyView

bp = Blueprint("api_keys", __name__, url_prefix="/v1/keys")

ID = {"key_id": "The key's id, key_ and 26 characters."}
_OF_A_TAG = (400, 404, 409, 412)
_AS_IT_IS = "The key as it is now"
_REPLAYED = (
    "An earlier request with this Idempotency-Key made this key. If its secret is lost, POST {} gives a new one."
)


@bp.post("")
@operation(
    "createKey",
    "keys:write",
    CreatedKey,
    "The key, and in `key` its secret, this once",
    status=201,
    body=NewKey,
    headers=IdempotencyKey,
    problems=(409,),
    etag=True,
)
def create(document: dict[str, Any]) -> Response:
    """Create a proxy key.

    For 24 hours the same request with the same Idempotency-Key answers with the same key, without its secret.
    """
    created = actions.create_key(current_actor(), document, idempotency_key=request.headers.get("Idempotency-Key"))
    view = created.view
    headers = {"Location": f"/v1/keys/{view.id}"}
    told = CreatedKey.model_validate(view)
    told.key = created.secret
    if created.secret is None:
        headers["Idempotency-Replayed"] = "true"
        told.notice = _REPLAYED.format(f"/v1/keys/{view.id}/rotate")
    return answer(told, 201, etag=view.etag, headers=headers)


@bp.get("")
@operation("listKeys", "keys:read", KeyList, "A page of keys", query=KeyQuery)
def index(query: KeyQuery) -> Response:
    """List proxy keys, page by page."""
    page = list_keys(current_actor().org_id, query)
    return answer(
        KeyList(
            data=[Key.model_validate(view) for view in page.keys],
            has_more=page.has_more,
            next_cursor=page.next_cursor,
            total=page.total,
        )
    )


@bp.get("/<key_id>")
@operation("getKey", "keys:read", Key, "The key", path=ID, headers=IfNoneMatch, problems=(404,), etag=True)
def show(key_id: str) -> Response:
    """Read a proxy key."""
    return told_key(get_key(current_actor().org_id, key_id))


@bp.patch("/<key_id>")
@operation(
    "updateKey",
    "keys:write",
    Key,
    _AS_IT_IS,
    path=ID,
    headers=IfMatch,
    body=KeyPatch,
    problems=(404, 409, 412),
    etag=True,
)
def update(key_id: str, document: dict[str, Any]) -> Response:
    """Edit a proxy key by a merge patch (RFC 7396); it holds for the next request.

    What is absent stays, null clears. What only the router sets is ignored when it is sent back as it was served.
    """
    return told_key(actions.update_key(current_actor(), key_id, document, if_version=if_version()))


@bp.post("/<key_id>/pause")
@operation("pauseKey", "keys:write", Key, _AS_IT_IS, path=ID, headers=IfMatch, problems=_OF_A_TAG, etag=True)
def pause(key_id: str) -> Response:
    """Stop a proxy key for now, like a patch of `paused`; it holds for the next request."""
    return _set_paused(key_id, paused=True)


@bp.post("/<key_id>/resume")
@operation(
    "resumeKey",
    "keys:write",
    Key,
    _AS_IT_IS,
    path=ID,
    headers=IfMatch,
    problems=_OF_A_TAG,
    etag=True,
)
def resume(key_id: str) -> Response:
    """Let a paused proxy key work again, like a patch of `paused`; it holds for the next request."""
    return _set_paused(key_id, paused=False)


@bp.post("/<key_id>/rotate")
@operation(
    "rotateKey",
    "keys:write",
    RotatedKey,
    "The key, and in `key` its new secret, this once",
    path=ID,
    headers=IfMatch,
    body=Rotation,
    problems=(404, 409, 412),
    etag=True,
)
def rotate(key_id: str, document: dict[str, Any]) -> Response:
    """Give a proxy key a new secret; its id, limits and spend stay.

    For `grace_seconds` the old secret opens it as well, and dies at the end of them on every worker. Where the proxies
    could not be told at once, `notice` says so; the new secret is good, and an old one may be for some seconds more.
    """
    rotated = rotate_key(current_actor(), key_id, document, if_version=if_version())
    told = Key.model_validate(rotated.view).model_dump()
    secrets = [Secret.model_validate(secret) for secret in rotated.secrets]
    return answer(RotatedKey(**told, key=rotated.secret, secrets=secrets, notice=rotated.late), etag=rotated.view.etag)


@bp.post("/bulk")
@operation("changeKeys", "keys:write", BulkResults, "What became of each", body=BulkChange)
def bulk(document: dict[str, Any]) -> Response:
    """Revoke, pause, resume or extend many proxy keys, each by itself.

    The answer is 200 also when some could not be changed; each has its own status.
    """
    wanted, outcomes = change_many(current_actor(), document)
    results = [_result(outcome) for outcome in outcomes]
    changed = sum(result.key is not None for result in results)
    return answer(
        BulkResults.model_validate(
            {"action": wanted.action, "changed": changed, "failed": len(results) - changed, "results": results}
        )
    )


@bp.delete("/<key_id>")
@operation(
    "revokeKey",
    "keys:write",
    Key,
    "The revoked key",
    path=ID,
    headers=IfMatch,
    problems=(400, 404, 412),
    etag=True,
)
def revoke(key_id: str) -> Response:
    """Revoke a proxy key for ever; it holds for the next request. Once more is the same."""
    return told_key(actions.revoke_key(current_actor(), key_id, if_version=if_version()))


def told_key(view: KeyView) -> Response:
    """A key, with its ETag."""
    return answer(Key.model_validate(view), etag=view.etag)


def _result(outcome: Outcome) -> BulkResult:
    if outcome.view is not None:
        return BulkResult(id=outcome.key_id, status=200, key=Key.model_validate(outcome.view))
    problem = problem_of(outcome.error)
    return BulkResult(id=outcome.key_id, status=problem.status, code=problem.code, detail=problem.detail)


def _set_paused(key_id: str, *, paused: bool) -> Response:
    return told_key(actions.update_key(current_actor(), key_id, {"paused": paused}, if_version=if_version()))
