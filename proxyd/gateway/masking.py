"""Keeping the real credential out of what goes back to a client, should a provider repeat it."""

from proxyd.messages import Header
from proxyd.wire.content_coding import ContentDecoder

MASK = b"[provider credential]"


def masked_headers(headers: list[Header], credential: bytes) -> list[Header]:
    """The headers of an answer, any status: some gateways echo what they were sent."""
    if not credential or credential not in b"\n".join([value for _, value in headers]):
        return headers
    return [(name, value.replace(credential, MASK)) for name, value in headers]


def masked_error(headers: list[Header], body: bytes, credential: bytes) -> tuple[list[Header], bytes]:
    """Headers and body of an error. One that came compressed, unasked, and holds the credential is passed on plain."""
    if not credential:
        return headers, body
    coding = next((value for name, value in headers if name == b"content-encoding"), None)
    if coding is None:
        return headers, body.replace(credential, MASK)
    decoder = ContentDecoder(coding)
    plain = decoder.feed(body)
    if decoder.broken or credential not in plain:
        return headers, body
    return [header for header in headers if header[0] != b"content-encoding"], plain.replace(credential, MASK)
