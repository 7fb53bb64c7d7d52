"""Cases about where a message ends: Content-Length, Transfer-Encoding, chunks, and requests hidden behind others.

The names are those of Http11Probe's list.
"""

from __future__ import annotations

from tests.data.http_strictness.case import AGAIN, WAITS, Case, case, chunked, get, post

_CL5, _CHUNKED = b"Content-Length: 5", b"Transfer-Encoding: chunked"
_ONE = "one length is allowed, so that no two readers can differ"
_LENIENT = "digits are digits; it is written anew, without the zeros"
_SPACE = "whitespace around a value is no part of it (RFC 9110, 5.5)"
_BODY = "a method may have a body; it is read by its length"
_LINE_END = "a choice of the reader's; lines end in one way"
_HELLO = b"5\r\nhello\r\n0\r\n\r\n"
_HIDDEN = get()  # a request in the place of a body


def _both(name: str, *lines: bytes, hidden: bytes = _HIDDEN, rule: str = "9112 6.3") -> Case:
    """No chunks and then, by the other reading, a second request."""
    body = b"0\r\n\r\n" + hidden
    return case(name, rule, post(*(line.replace(b"N", b"%d" % len(body)) for line in lines), body=body), 400)


LENGTHS: list[Case] = [
    case("COMP-POST-CL-BODY", "9112 6.2", post(_CL5), 200, body=b"hello"),
    case("COMP-POST-CL-ZERO", "9112 6.2", post(b"Content-Length: 0", body=b""), 200, body=b""),
    case("COMP-POST-NO-CL-NO-TE", "9112 6.3", post(body=b""), 200, body=b"", why="neither length nor chunks: no body"),
    case("COMP-POST-CL-UNDERSEND", "9112 8", post(b"Content-Length: 10"), *WAITS),
    case("MAL-POST-CL-HUGE-NO-BODY", "9112 8", post(b"Content-Length: 999999999", body=b""), *WAITS),
    case("COMP-GET-WITH-CL-BODY", "9110 9.3.1", post(_CL5, line=b"GET / HTTP/1.1"), 200, body=b"hello", why=_BODY),
    case("RFC9112-6.1-CL-NON-NUMERIC", "9110 8.6", post(b"Content-Length: abc", body=b""), 400),
    case("RFC9112-6.1-CL-PLUS-SIGN", "9110 8.6", post(b"Content-Length: +5"), 400),
    case("SMUG-DUPLICATE-CL", "9112 6.3", post(_CL5, b"Content-Length: 6", body=b"hello!"), 400),
    case("SMUG-CL-LEADING-ZEROS", "9110 8.6", post(b"Content-Length: 005"), 200, body=b"hello", why=_LENIENT),
    case("SMUG-CL-DOUBLE-ZERO", "9110 8.6", post(b"Content-Length: 00", body=b""), 200, body=b"", why=_LENIENT),
    case("SMUG-CL-LEADING-ZEROS-OCTAL", "9110 8.6", post(b"Content-Length: 0144", body=b"a" * 144), 200, body=b"a" * 144,
         sees={"content-length": "144"}, why=_LENIENT),
    case("SMUG-CL-NEGATIVE", "9110 8.6", post(b"Content-Length: -1", body=b""), 400),
    case("SMUG-CL-NEGATIVE-ZERO", "9110 8.6", post(b"Content-Length: -0", body=b""), 400),
    case("SMUG-CL-OCTAL", "9110 8.6", post(b"Content-Length: 0o5"), 400),
    case("SMUG-CL-HEX-PREFIX", "9110 8.6", post(b"Content-Length: 0x5"), 400),
    case("SMUG-CL-INTERNAL-SPACE", "9110 8.6", post(b"Content-Length: 0 5"), 400),
    case("SMUG-CL-UNDERSCORE", "9110 8.6", post(b"Content-Length: 0_5"), 400),
    case("SMUG-CL-COMMA-DIFFERENT", "9110 8.6", post(b"Content-Length: 5, 6"), 400),
    case("SMUG-CL-COMMA-SAME", "9110 8.6", post(b"Content-Length: 5, 5"), 400, why=_ONE),
    case("SMUG-CL-COMMA-TRIPLE", "9110 8.6", post(b"Content-Length: 5, 5, 5"), 400, why=_ONE),
    case("SMUG-CL-TRAILING-SPACE", "9110 5.5", post(b"Content-Length: 5 "), 200, body=b"hello", why=_SPACE),
    case("SMUG-CL-EXTRA-LEADING-SP", "9110 5.5", post(b"Content-Length:   5"), 200, body=b"hello", why=_SPACE),
    case("MAL-CL-TAB-BEFORE-VALUE", "9110 5.5", post(b"Content-Length:\t5"), 200, body=b"hello", why=_SPACE),
    case("MAL-CL-OVERFLOW", "9110 8.6", post(b"Content-Length: " + b"9" * 20, body=b""), 400),
    case("MAL-CL-EMPTY", "9110 8.6", post(b"Content-Length: ", body=b""), 400),
    case("NORM-SP-BEFORE-COLON-CL", "9112 5.1", post(_CL5, b"Content-Length : 3"), 400),
    case("NORM-UNDERSCORE-CL", "9110 5.1", post(_CL5, b"Content_Length: 9"), 200, body=b"hello", hides=("content_length",),
         why="a field of its own; left out, as WSGI would take it for the length"),
    case("SMUG-HEAD-CL-BODY", "9110 9.3.2", post(_CL5, line=b"HEAD / HTTP/1.1"), 200, body=b"hello", why=_BODY),
    case("SMUG-OPTIONS-CL-BODY", "9110 9.3.7", post(_CL5, line=b"OPTIONS / HTTP/1.1"), 204, body=b"hello", why=_BODY),
    case("SMUG-EXPECT-100-CL", "9110 10.1.1", post(_CL5, b"Expect: 100-continue"), 200, body=b"hello", hides=("expect",),
         why="a body that is there already need not be asked for"),
]  # fmt: skip

CODINGS: list[Case] = [
    case("SMUG-CL-TE-BOTH", "9112 6.3", post(b"Content-Length: %d" % len(_HELLO), _CHUNKED, body=_HELLO), 400),
    case("SMUG-CLTE-PIPELINE", "9112 6.3", post(b"Content-Length: 4", _CHUNKED, body=b"0\r\n\r\n"), 400),
    case("SMUG-TECL-PIPELINE", "9112 6.3", post(_CHUNKED, b"Content-Length: 40", body=b"0\r\n\r\n"), 400),
    case("COMP-UNKNOWN-TE-501", "9112 6.3", post(b"Transfer-Encoding: gzip", body=b""), 400),
    case("SMUG-TE-XCHUNKED", "9112 6.3", post(b"Transfer-Encoding: xchunked", _CL5), 400),
    case("SMUG-TE-TRAILING-SPACE", "9112 6.3", post(_CHUNKED + b" ", _CL5), 400),
    case("SMUG-TE-SP-BEFORE-COLON", "9112 5.1", post(b"Transfer-Encoding : chunked", _CL5), 400),
    case("SMUG-TE-DOUBLE-CHUNKED", "9112 6.1", post(_CHUNKED + b", chunked", _CL5), 400),
    case("SMUG-TE-CASE-MISMATCH", "9112 6.3", post(b"Transfer-Encoding: CHUNKED", _CL5), 400),
    case("SMUG-TE-NOT-FINAL-CHUNKED", "9112 6.3", post(_CHUNKED + b", gzip", body=b"0\r\n\r\n"), 400),
    case("SMUG-TE-HTTP10", "9112 6.1", post(_CHUNKED, _CL5, line=b"POST / HTTP/1.0"), 400),
    case("SMUG-TE-EMPTY-VALUE", "9112 6.1", post(b"Transfer-Encoding: ", _CL5), 400),
    case("SMUG-TE-LEADING-COMMA", "9110 5.6.1", post(b"Transfer-Encoding: , chunked", _CL5), 400),
    case("SMUG-TE-TRAILING-COMMA", "9110 5.6.1", post(_CHUNKED + b",", _CL5), 400),
    case("SMUG-TE-DUPLICATE-HEADERS", "9112 6.3", post(_CHUNKED, b"Transfer-Encoding: identity", _CL5), 400),
    case("SMUG-TE-VTAB", "9110 5.5", post(b"Transfer-Encoding: \x0bchunked", _CL5), 400),
    case("SMUG-TE-FORMFEED", "9110 5.5", post(b"Transfer-Encoding: \x0cchunked", _CL5), 400),
    case("SMUG-TE-NULL", "9110 5.5", post(_CHUNKED + b"\0", _CL5), 400),
    case("SMUG-TE-IDENTITY", "9112 7", post(b"Transfer-Encoding: identity", _CL5), 400),
    case("SMUG-CHUNKED-WITH-PARAMS", "9112 7", post(_CHUNKED + b";a=b", _CL5), 400),
    case("SMUG-TE-OBS-FOLD", "9112 5.2", post(b"Transfer-Encoding:", b" chunked", _CL5), 400),
    case("SMUG-OPTIONS-TE-OBS-FOLD", "9112 5.2", post(b"Transfer-Encoding:", b" chunked", _CL5, line=b"OPTIONS / HTTP/1.1"), 400),
    case("SMUG-TE-TAB-BEFORE-VALUE", "9112 6.3", post(b"Transfer-Encoding:\tchunked", _CL5), 400),
    case("NORM-CASE-TE", "9112 6.3", post(b"Content-Length: 5", b"TRANSFER-ENCODING: chunked"), 400),
    *(
        case(name, "9110 5.1", post(_CL5, b"Transfer_Encoding: chunked"), 200, body=b"hello", hides=("transfer_encoding",),
             why="a field of its own; left out, as WSGI would take it for the coding")
        for name in ("SMUG-TRANSFER_ENCODING", "NORM-UNDERSCORE-TE")
    ),
]  # fmt: skip

CHUNKS: list[Case] = [
    case("COMP-CHUNKED-BODY", "9112 7.1", chunked(_HELLO), 200, body=b"hello"),
    case("COMP-CHUNKED-MULTI", "9112 7.1", chunked(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), 200, body=b"hello"),
    case("COMP-CHUNKED-EMPTY", "9112 7.1", chunked(b"0\r\n\r\n"), 200, body=b""),
    case("COMP-CHUNKED-NO-FINAL", "9112 8", chunked(b"5\r\nhello\r\n"), *WAITS),
    case("COMP-CHUNKED-EXTENSION", "9112 7.1.1", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), 200, body=b"hello"),
    case("COMP-CHUNKED-HEX-UPPERCASE", "9112 7.1", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), 200, body=b"0123456789"),
    case("SMUG-CHUNK-EXT-LF", "9112 7.1.1", chunked(b"5;\nhello\r\n0\r\n\r\n"), 400, why=_LINE_END),
    case("SMUG-CHUNK-LF-TERM", "9112 7.1", chunked(b"5\r\nhello\n0\r\n\r\n"), 400, why=_LINE_END),
    case("SMUG-CHUNK-LF-TRAILER", "9112 7.1", chunked(b"5\r\nhello\r\n0\r\n\n"), 400, why=_LINE_END),
    *(
        case(name, rule, chunked(size + b"\r\nhello\r\n0\r\n\r\n"), 400)
        for name, rule, size in (
            ("SMUG-CHUNK-BARE-SEMICOLON", "9112 7.1.1", b"5;"),
            ("SMUG-CHUNK-EXT-INVALID-TOKEN", "9112 7.1.1", b"5;a[=b"),
            ("SMUG-CHUNK-EXT-CTRL", "9112 7.1.1", b"5;\0a"),
            ("SMUG-CHUNK-EXT-CR", "9112 7.1.1", b"5;a\rb"),
            ("SMUG-CHUNK-UNDERSCORE", "9112 7.1", b"0_5"),
            ("SMUG-CHUNK-HEX-PREFIX", "9112 7.1", b"0x5"),
            ("SMUG-CHUNK-SIZE-PLUS", "9112 7.1", b"+5"),
            ("SMUG-CHUNK-SIZE-TRAILING-OWS", "9112 7.1", b"5 "),
            ("SMUG-CHUNK-LEADING-SP", "9112 7.1", b" 5"),
            ("SMUG-CHUNK-NEGATIVE", "9112 7.1", b"-5"),
            ("MAL-CHUNK-SIZE-OVERFLOW", "9112 7.1", b"F" * 15 + b"05"),
            ("MAL-CHUNK-EXT-64K", "9112 7.1.1", b"5;a=" + b"b" * 65_536),
        )
    ),
    case("SMUG-CHUNK-MISSING-TRAILING-CRLF", "9112 7.1", chunked(b"5\r\nhello0\r\n\r\n"), 400),
    case("SMUG-CHUNK-SPILL", "9112 7.1", chunked(b"5\r\nhello..\r\n0\r\n\r\n"), 400),
    case("SMUG-CHUNK-BARE-CR-TERM", "9112 2.2", chunked(b"5\rhello\r\n0\r\n\r\n"), 400),
    *(
        case(name, "9110 6.5.1", chunked(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"), 200, body=b"hello", hides=hides,
             why="read over: the head has said what counts")
        for name, line, hides in (
            ("SMUG-TRAILER-CL", b"Content-Length: 50", ("trailer content-length",)),
            ("SMUG-TRAILER-TE", _CHUNKED, ("trailer transfer-encoding",)),
            ("SMUG-TRAILER-HOST", b"Host: other.example", ("trailer host",)),
            ("SMUG-TRAILER-AUTH", b"Authorization: Bearer s", ("trailer authorization",)),
            ("SMUG-TRAILER-CONTENT-TYPE", b"Content-Type: a/b", ("trailer content-type",)),
        )
    ),
]  # fmt: skip

HIDDEN: list[Case] = [
    case("SMUG-CLTE-CONN-CLOSE", "9112 6.3", post(_CL5, _CHUNKED, body=b"0\r\n\r\n") + AGAIN, 400),
    case("SMUG-TECL-CONN-CLOSE", "9112 6.3", post(_CHUNKED, _CL5, body=b"0\r\n\r\n") + AGAIN, 400),
    case("SMUG-CLTE-DESYNC", "9112 6.3", post(b"Content-Length: 6", _CHUNKED, body=b"0\r\n\r\nX") + AGAIN, 400),
    case("SMUG-TECL-DESYNC", "9112 6.3", post(_CHUNKED, b"Content-Length: 40", body=b"0\r\n\r\nX") + AGAIN, 400),
    case("SMUG-CHUNK-INVALID-SIZE-DESYNC", "9112 7.1", chunked(b"+0\r\n\r\nX") + AGAIN, 400),
    _both("SMUG-CLTE-SMUGGLED-GET", b"Content-Length: N", _CHUNKED),
    _both("SMUG-CLTE-SMUGGLED-GET-CL-PLUS", b"Content-Length: +N", _CHUNKED),
    _both("SMUG-CLTE-SMUGGLED-GET-CL-NON-NUMERIC", b"Content-Length: Nx", _CHUNKED),
    _both("SMUG-CLTE-SMUGGLED-GET-TE-OBS-FOLD", b"Transfer-Encoding:", b" chunked", b"Content-Length: N", rule="9112 5.2"),
    _both("SMUG-CLTE-SMUGGLED-HEAD", b"Content-Length: N", _CHUNKED, hidden=get(line=b"HEAD / HTTP/1.1")),
    _both("SMUG-CLTE-SMUGGLED-GET-TE-TRAILING-SPACE", b"Content-Length: N", _CHUNKED + b" "),
    _both("SMUG-CLTE-SMUGGLED-GET-TE-LEADING-COMMA", b"Content-Length: N", b"Transfer-Encoding: , chunked"),
    _both("SMUG-CLTE-SMUGGLED-GET-TE-CASE-MISMATCH", b"Content-Length: N", b"Transfer-Encoding: CHUNKED"),
    _both("SMUG-TE-DUPLICATE-HEADERS-SMUGGLED-GET", _CHUNKED, b"Transfer-Encoding: identity", b"Content-Length: N"),
    case("SMUG-TECL-SMUGGLED-GET", "9112 6.3",
         post(_CHUNKED, b"Content-Length: 4", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN)), 400),
    case("SMUG-DUPLICATE-CL-SMUGGLED-GET", "9112 6.3",
         post(b"Content-Length: 4", b"Content-Length: %d" % (4 + len(_HIDDEN)), body=b"ping" + _HIDDEN), 400),
    case("SMUG-CL0-BODY-POISON", "9112 6.3", post(b"Content-Length: 0", body=b"X") + AGAIN, 200, 405,
         why="what comes behind a request is the next one: here of the method XGET"),
    case("SMUG-GET-CL-PREFIX-DESYNC", "9110 9.3.1",
         get(b"Content-Length: %d" % (len(_HIDDEN) - 2)) + _HIDDEN[:-2] + b"\r\n" + AGAIN, 200, 200, why=_BODY),
    case("SMUG-GET-CL-BODY-DESYNC", "9110 9.3.1", post(_CL5, line=b"GET / HTTP/1.1") + AGAIN, 200, 200, why=_BODY),
    case("SMUG-OPTIONS-CL-BODY-DESYNC", "9110 9.3.7", post(_CL5, line=b"OPTIONS / HTTP/1.1") + AGAIN, 204, 200, why=_BODY),
    case("SMUG-EXPECT-100-CL-DESYNC", "9110 10.1.1", post(_CL5, b"Expect: 100-continue") + AGAIN, 200, 200, why=_BODY),
]  # fmt: skip
