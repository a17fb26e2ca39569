"""A question of the router's own to a provider, beside the request that it is asked for: small, free, soon given up."""

import gevent

from proxyd.messages import Outgoing, UpstreamBroken
from proxyd.upstream.pool import UpstreamPool


class OtherAnswer(UpstreamBroken):
    """An answer that is none to the question."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"It answered {status}", sent=True)
        self.status, self.body = status, body


def answer_to(pool: UpstreamPool, question: Outgoing, seconds: float, max_bytes: int) -> bytes:
    """The body of the answer. Raises UpstreamError for none in time, one that is no 200, and one that is too large.

    One that is no 200 is an `OtherAnswer`.
    """
    call = pool.call(question)
    end = gevent.spawn_later(seconds, call.abort)
    try:
        incoming = call.start()
        answer = b""
        for piece in call.chunks():
            answer += piece
            if len(answer) > max_bytes:
                raise UpstreamBroken("Its answer is too large", sent=True)
        if incoming.status != 200:
            raise OtherAnswer(incoming.status, answer)
        return answer
    finally:
        end.kill(block=False)
        call.close()
