"""What of an error may go back to a client: nothing that could not be read, and never the credential, as in a log."""

import bz2
import gzip
import lzma
import zlib
from functools import partial
from typing import cast

import brotli
import pytest

from proxyd.accounting.accounting import Accounting
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.masking import MASK, MAX_ERROR_BYTES, Unreadable, blanked, masked_error, plain_error
from proxyd.messages import Origin, Outgoing
from proxyd.upstream.pool import UpstreamPool

SECRET = b"sk-proj-secret/with+signs"
# Without the time: cases are named by their bytes, and two processes of a parallel run must name them alike.
zipped = partial(gzip.compress, mtime=0)
ECHO = b'{"error":"no: ' + SECRET + b'"}'


def shown(codings: list[bytes], body: bytes) -> bytes:
    return masked_error(plain_error(codings, body), (SECRET,))


def test_it_works() -> None:
    assert shown([], ECHO) == b'{"error":"no: ' + MASK + b'"}'
    assert shown([], b"no") == b"no"
    assert shown([], b"") == shown([b"gzip"], b"") == b""


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        ([b"identity"], ECHO),
        ([b"gzip"], zipped(ECHO)),
        ([b" X-GZip "], zipped(ECHO)),
        ([b"gzip"], zipped(ECHO[:20]) + zipped(ECHO[20:])),
        ([b"deflate"], zlib.compress(ECHO)),
        ([b"br"], brotli.compress(ECHO)),
        ([b"", b"gzip"], zipped(ECHO)),
    ],
)
def test_what_can_be_read_is_masked(codings: list[bytes], body: bytes) -> None:
    assert shown(codings, body) == b'{"error":"no: ' + MASK + b'"}'


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        ([b"br"], ECHO),
        ([b"zstd"], ECHO),
        ([b"br"], brotli.compress(b"\0" * MAX_ERROR_BYTES + b"x")),
        ([b"compress"], ECHO),
        ([b"nonsense"], ECHO),
        ([b"gzip, gzip"], zipped(zipped(ECHO))),
        ([b"gzip", b"gzip"], zipped(zipped(ECHO))),
        ([b"gzip"], zipped(zipped(ECHO))),
        ([b"gzip"], ECHO),
        ([b"gzip"], zipped(ECHO)[:-9]),
        ([b"gzip"], zipped(ECHO)[:-1]),
        ([b"gzip"], zipped(b"no") + ECHO),
        ([], zipped(ECHO)),
        ([b"identity"], zlib.compress(ECHO)),
        ([], b"\x28\xb5\x2f\xfd" + ECHO),
        *[([], zlib.compress(ECHO, level)) for level in range(10)],
        ([], zlib.compress(ECHO, wbits=-15)),
        ([], brotli.compress(ECHO)),
        ([], bz2.compress(ECHO)),
        ([], lzma.compress(ECHO)),
        ([], b"\n" + zipped(ECHO)),
        ([b"gzip"], zipped(brotli.compress(ECHO))),
        ([], "no: café".encode("latin-1")),
        ([], b"no\0"),
        ([], b"no\x7f"),
        ([], "no".encode("utf-16")),
        ([b"gzip"], zipped(b"\0" * MAX_ERROR_BYTES + b"x")),
    ],
)
def test_w6_what_cannot_be_read_is_kept_back(codings: list[bytes], body: bytes) -> None:
    with pytest.raises(Unreadable):
        plain_error(codings, body)


@pytest.mark.parametrize(
    "body",
    [
        ECHO.replace(b"-", b"\\u002d"),
        ECHO.replace(b"s", b"\\u0073", 1),
        ECHO.replace(b"/", b"\\/"),
        ECHO.decode().encode("utf-16"),
        ECHO.decode().encode("utf-32-be"),
    ],
)
def test_w6_a_credential_in_disguise_is_kept_back(body: bytes) -> None:
    with pytest.raises(Unreadable):
        shown([], body)


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", "no: café \u2028 \x85".encode(), b"a\tb\r\n\f\v", b"BZh", b"x^"])
def test_any_other_text_is_passed_on(body: bytes) -> None:
    assert shown([], body) == body


def test_an_answer_that_is_no_error_stays_as_long_as_it_is() -> None:
    assert blanked(b"a" + SECRET + b"b" + SECRET, (SECRET,)) == b"a" + b"*" * len(SECRET) + b"b" + b"*" * len(SECRET)
    assert blanked(b"a", (SECRET,)) == b"a"
    assert blanked(b"a", (b"",)) == b"a"


def test_an_escape_alone_is_no_disguise() -> None:
    body = b'{"error":"caf\\u0065 \\/ \\u00e9"}'
    assert shown([], body) == body
    assert masked_error(body, (b"",)) == body


def test_what_a_log_may_tell_of_a_call_or_its_attempt_has_no_credential() -> None:
    sent = Outgoing(Origin("http", "127.0.0.1", 1, "127.0.0.1:1"), "GET", "/", [(b"authorization", SECRET)], b"")
    assert repr(SECRET) in repr(sent.headers)
    call = UpstreamPool().call(sent)
    accounting, context, admission = cast("tuple[Accounting, RequestContext, Admission]", (None, sent, None))
    attempt = UpstreamAttempt(accounting, context, admission, call=call, detached=None, on_deferred=lambda *_: None)
    assert "secret" not in f"{call!r}{attempt!r}"
