"""What a connection needs of its server."""

from typing import Protocol

from proxyd.messages import Request, Response
from proxyd.outbox import Outbox
from proxyd.server.limits import ServerLimits


class Service(Protocol):
    """What a connection needs of its server."""

    limits: ServerLimits
    outbox: Outbox
    answering: int  # requests whose answer is not known yet
    draining: bool
    idle_seconds: float  # for the next request of a connection that has had one

    def respond(self, request: Request) -> Response:
        """Answer a request. Raises `ClientGone`, and no other `Exception`."""

    def refuse(self, error: Exception, request: Request | None) -> Response:
        """Put an error into words. Raises nothing."""
