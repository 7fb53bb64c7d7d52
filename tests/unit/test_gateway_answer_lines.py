"""What the gateway says of a request beside the instance's own header."""

from __future__ import annotations

import pytest

from runtime.gateway import answer_lines
from runtime.http.head import parse_response


def test_an_answer_says_whose_it_is_and_how_long_it_took() -> None:
    lines = answer_lines.of_request("1-ab", 12, b"x-fc-instance-id: i\r\n", b"x-more: 1\r\n", False)
    assert lines == b"x-fc-request-id: 1-ab\r\nx-fc-invocation-duration: 12\r\nx-fc-instance-id: i\r\nx-more: 1\r\n"


def test_a_cold_start_is_said_behind_the_rest() -> None:
    warm, cold = (answer_lines.of_request("1-ab", 0, b"", b"", cold_start) for cold_start in (False, True))
    assert cold == warm + b"x-stoke-cold-start: true\r\n"


@pytest.mark.parametrize(
    ("status", "fields", "said"),
    [
        (200, b"", b""),
        (500, b"", b"x-fc-error-type: UnhandledInvocationError\r\n"),
        (200, b"x-fc-status: 404\r\n", b"x-fc-error-type: UnhandledInvocationError\r\n"),
        (200, b"x-fc-status: 200\r\n", b""),
        (500, b"X-Fc-Error-Type: HandledInvocationError\r\n", b""),
    ],
)
def test_a_failed_function_is_told_of_unless_the_instance_said_how(status: int, fields: bytes, said: bytes) -> None:
    response = parse_response(b"HTTP/1.1 %d X\r\n%bcontent-length: 0\r\n\r\n" % (status, fields))
    assert answer_lines.of_failure(response) == said
