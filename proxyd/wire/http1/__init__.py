"""HTTP/1.1 (RFC 9112) as pure functions and small decoders.

The law of this package: heads are parsed by httptools (llhttp, strict), after our caller cut them off at their empty
line and before anything of the body is looked at. Bodies are framed here, because httptools tells neither where a
message ended nor keeps trailers apart from headers, and because its upgrade handling loses bodies. Whatever two
parsers could read in two ways is refused.
"""

from proxyd.wire.http1.body import ChunkedDecoder, ChunkLimits, CloseDecoder, Decoder, LengthDecoder, ProtocolError
from proxyd.wire.http1.repeated_head import RepeatedHead
from proxyd.wire.http1.request import HeadLimits, RequestHead, asked_in, find_head, parse_request_head
from proxyd.wire.http1.response import ResponseHead, find_response_head, parse_response_head
from proxyd.wire.http1.write import LAST_CHUNK, chunk, header_lines, request_head, response_head

__all__ = [
    "LAST_CHUNK",
    "ChunkLimits",
    "ChunkedDecoder",
    "CloseDecoder",
    "Decoder",
    "HeadLimits",
    "LengthDecoder",
    "ProtocolError",
    "RepeatedHead",
    "RequestHead",
    "ResponseHead",
    "asked_in",
    "chunk",
    "find_head",
    "find_response_head",
    "header_lines",
    "parse_request_head",
    "parse_response_head",
    "request_head",
    "response_head",
]
