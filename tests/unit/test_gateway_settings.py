"""The gateway's settings: arguments, then the environment, then defaults; a wrong value is named."""

from __future__ import annotations

import pytest

from runtime.gateway.settings import GatewaySettings, read_settings, split_address

NEEDED = ["--listen", "127.0.0.1:0", "--store", "unix:///s", "--control-plane", "unix:/c"]


def test_arguments_count_before_the_environment_and_that_before_defaults() -> None:
    environment = {"STOKE_QUEUE_WAIT_S": "7.5", "STOKE_DATA": "/d"}
    assert read_settings(NEEDED, {}).queue_wait_s == 60.0
    assert read_settings(NEEDED, environment).queue_wait_s == 7.5
    assert read_settings([*NEEDED, "--queue-wait-s", "8"], environment).queue_wait_s == 8.0
    assert str(read_settings(NEEDED, environment).credentials_path) == "/d/credentials.json"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*NEEDED, "--queue-length-max", "-1"], "--queue-length-max -1: 0 to 1e"),
        ([*NEEDED, "--queue-wait-s", "soon"], "--queue-wait-s 'soon': a number is allowed"),
        ([*NEEDED, "--queue-wait-s", "nan"], "--queue-wait-s nan: 0.01 to 86400 is allowed"),
        ([*NEEDED, "--listen", "9000"], "--listen '9000': HOST:PORT is allowed"),
        (
            [*NEEDED, "--listen", "0.0.0.0:9000", "--data", "/nowhere"],
            "--listen '0.0.0.0:9000': without credentials.json",
        ),
        ([*NEEDED, "--store", "http://x"], "--store 'http://x': redis://"),
        ([*NEEDED, "--control-plane", "x"], "--control-plane 'x': unix:PATH"),
        ([*NEEDED, "--otlp-endpoint", "collector:4318"], "--otlp-endpoint 'collector:4318': http://HOST"),
        ([*NEEDED, "--otlp-endpoint", "http://:1x"], "--otlp-endpoint 'http://:1x': http://HOST"),
        ([*NEEDED, "--otlp-share", "2"], "--otlp-share 2.0: 0 to 1 is allowed"),
        (NEEDED[2:], "--listen or --listen-fd is needed"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=r"allowed|needed") as error:
        read_settings(arguments, {})
    assert str(error.value).startswith(message)


def test_an_address_is_a_host_and_a_port() -> None:
    assert split_address("127.0.0.1:9000") == ("127.0.0.1", 9000)
    assert split_address("[::1]:0") == ("::1", 0)
    for wrong in ("", ":1", "x", "x:", "x:70000", "x:-1"):
        with pytest.raises(ValueError, match="HOST:PORT is allowed"):
            split_address(wrong)


def test_the_servers_limits_are_the_settings() -> None:
    settings = GatewaySettings(listen="localhost:1", store="redis://", control_plane="unix:/c", head_bytes_max=2048)
    assert settings.server_limits.head_bytes_max == 2048
