"""Options, payloads and what the footprint reads: the parts that turn text into values."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from loadtests.bench.footprint import parse_rollup, tree
from loadtests.demo import MANIFEST, MINIMUM, PROVISION
from loadtests.options import FUNCTION, SERVICE, add_load_options, load_arguments
from loadtests.payload import payload, trigger_path
from loadtests.run import parse
from provision.config import parse as parse_config
from provision.config import unknown_fields


def chosen(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_load_options(parser)
    return parser.parse_args(arguments)


def test_the_default_function_is_one_of_the_sample_deployment() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text())
    assert manifest["vars"]["service"]["name"] == SERVICE
    assert FUNCTION in [service["props"]["function"]["name"] for service in manifest["services"].values()]


def test_the_demos_provision_config_is_one_that_stoke_takes() -> None:
    config = parse_config(PROVISION.read_text())
    (policy,) = config.target_tracking_policies
    assert (config.target, policy.min_capacity, policy.max_capacity) == (MINIMUM, MINIMUM, 8)
    assert 0.3 <= policy.metric_target <= 0.6
    assert unknown_fields(json.loads(PROVISION.read_text())) == []


def test_options_survive_being_handed_on_as_arguments() -> None:
    options = chosen("--shape=burst", "--low=2", "--high=9", "--duration-s=12.5", "--path=/a b", "--content-type=x/y")
    assert chosen(*load_arguments(options)) == options


def test_digits_sends_pictures_to_the_functions_trigger() -> None:
    request = payload(chosen("--service=s", "--function=digits"))
    assert (request.method, request.path) == ("POST", "/2016-08-15/proxy/s/digits/")
    assert request.headers == {"Content-Type": "image/png"}
    assert len(request.bodies) >= 10
    assert all(body.startswith(b"\x89PNG") for body in request.bodies)


def test_spam_detection_sends_one_line_a_request(tmp_path: Path) -> None:
    (tmp_path / "spam.txt").write_text("free money\n\n see you at six \n")
    request = payload(chosen("--function=spam_detection"), tmp_path)
    assert request.headers == {"Content-Type": "text/plain"}
    assert request.bodies == (b"free money", b"see you at six")


def test_any_path_and_body_can_be_sent(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text("{}")
    request = payload(chosen("--path=/predict", f"--body-file={body}"))
    assert (request.name, request.method, request.path) == ("POST /predict", "POST", "/predict")
    assert request.headers == {"Content-Type": "application/json"}
    put = payload(chosen("--path=/predict", f"--body-file={body}", "--method=put", "--content-type=text/x"))
    assert (put.method, put.headers) == ("PUT", {"Content-Type": "text/x"})


def test_another_function_gets_a_request_without_a_body() -> None:
    request = payload(chosen("--service=s", "--function=flask_app", "--qualifier=prod"))
    assert (request.method, request.path) == ("GET", "/2016-08-15/proxy/s.prod/flask_app/")
    assert (request.headers, request.bodies) == ({}, (b"",))


def test_latest_is_left_out_of_a_triggers_path() -> None:
    assert trigger_path("s", "f") == trigger_path("s", "f", "LATEST") == "/2016-08-15/proxy/s/f/"


def test_a_body_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="body-file: cannot read /no/such/file: No such file"):
        payload(chosen("--body-file=/no/such/file"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--endpoint", "localhost:9000"], "endpoint: 'localhost:9000'; http://HOST:PORT"),
        (["--endpoint", "http://h", "--high", "0"], "high: 0 users; at least 1"),
        (["--endpoint", "http://h", "--pacing-s", "-1"], "pacing-s: -1.0; 0 or more"),
        (["--endpoint", "http://h", "--timeout-s", "0"], "timeout-s: 0.0; more than 0"),
        (["--endpoint", "http://h", "--body-file", "/no/such"], "body-file: cannot read /no/such"),
        (["--endpoint", "http://h", "--shape", "square"], "invalid choice: 'square'"),
    ],
)
def test_a_wrong_option_ends_the_program_with_2_and_says_why(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_memory_is_read_from_the_kernels_roll_up() -> None:
    text = """55d0-7fff ---p 00000000 00:00 0    [rollup]
Rss:               30720 kB
Pss:               15360 kB
Pss_Dirty:          9000 kB
Shared_Clean:       8192 kB
Shared_Dirty:       2048 kB
Private_Clean:      1024 kB
Private_Dirty:      9216 kB
"""
    weight = parse_rollup(text)
    assert (weight.pss_mib, weight.private_mib, weight.shared_mib, weight.processes) == (15.0, 10.0, 10.0, 1)


def test_a_part_is_weighed_without_the_parts_and_instances_below_it() -> None:
    children = {1: [2, 3], 2: [4], 4: [5], 3: [6]}
    assert sorted(tree(1, children, without={4})) == [1, 2, 3, 6]
    assert sorted(tree(4, children, without=set())) == [4, 5]
