"""One request on its way through the gateway: what all of its stations share."""

from dataclasses import dataclass

from proxyd.gateway.rejection import Rejection
from proxyd.messages import Request, RequestError, RequestTimeout, RequestTooLarge
from shared.policy import Address, Deny, Reason

MAX_JSON_BYTES = 32 * 1024 * 1024  # Anthropic's limit, the largest of the three


@dataclass(slots=True)
class RequestContext:
    """A request, its number in the journal, its id, and the dialect its caller speaks."""

    request: Request
    seq: int
    id: str
    dialect: str
    client_ip: Address | None
    started: float  # monotonic


def rejected(reason: Reason, **facts: str | int | None) -> Rejection:
    return Rejection(Deny(reason, dict(facts)))


def rejected_request(error: RequestError) -> Rejection:
    """What is wrong with a request that could not be read."""
    if isinstance(error, RequestTooLarge):
        limit_bytes = MAX_JSON_BYTES if error.limit_bytes is None else error.limit_bytes
        return rejected(Reason.REQUEST_TOO_LARGE, limit_bytes=limit_bytes)
    if isinstance(error, RequestTimeout):
        return rejected(Reason.REQUEST_TIMEOUT)
    reason = Reason.METHOD_NOT_ALLOWED if error.status == 405 else Reason.INVALID_REQUEST
    return Rejection(Deny(reason, {"detail": f"{error}."}), status=error.status)
