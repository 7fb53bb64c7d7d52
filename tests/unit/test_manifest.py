"""s.yaml of edition 1.0.0: what is read out of it, and what is said of a file that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.failures import BadInput
from control_plane.cli.manifest import Manifest, find_template, load_manifest
from control_plane.cli.plans import select_plans

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"

MINIMAL = """
edition: 1.0.0
name: app
services:
  one:
    component: fc
    props:
      service: {name: svc}
      function: {name: fn, runtime: custom, handler: not-used}
      triggers: [{name: http, type: http, config: {methods: [GET]}}]
"""


def read(folder: Path, text: str, **environment: str) -> Manifest:
    path = folder / "s.yaml"
    path.write_text(text)
    return load_manifest(path, environment)


def problems(folder: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read(folder, text, **environment)
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{folder}/s.yaml:") for line in str(caught.value).splitlines()]


def test_stokes_own_settings_of_a_function_are_read_in_either_edition_and_wrong_ones_named(tmp_path: Path) -> None:
    own = "stoke: {importBeforeFork: false, queueWaitSeconds: 2}"
    props = f"{{region: cn-local, functionName: fn, runtime: custom, {own}}}"
    third = f"edition: 3.0.0\nname: app\nresources: {{one: {{component: fc3, props: {props}}}}}"
    for text in (MINIMAL.replace("handler: not-used", own), third):
        (plan,) = read(tmp_path, text).plans
        assert plan.function["stoke"] == {"importBeforeFork": False, "queueWaitSeconds": 2}
    wrong = MINIMAL.replace("handler: not-used", "stoke: {importBeforeForks: false}")
    assert any("importBeforeForks" in line for line in problems(tmp_path, wrong))


# -- files that are right -------------------------------------------------------------------------------------------


def test_a_users_container_file_is_read_as_it_is() -> None:
    manifest = load_manifest(DATA / "container-demo.yaml", {})
    (plan,) = manifest.plans
    assert (plan.key, plan.service_name, plan.function_name) == (
        "gpu-best-practice",
        "gpu-best-practice-service",
        "gpu-moderation",
    )
    assert plan.service["role"] == "acs:ram::1:role/r"
    assert plan.service["logConfig"]["enableInstanceMetrics"] is True
    assert plan.function["runtime"] == "custom-container"
    assert plan.function["timeout"] == 1200
    assert plan.function["gpuMemorySize"] == 8192
    assert plan.function["customContainerConfig"] == {"image": "example/moderation:v1", "accelerationType": "Default"}
    assert plan.function["environmentVariables"] == {"FCGPU_RUNTIME_SHMSIZE": "8589934592"}
    (trigger,) = plan.triggers
    assert (trigger["triggerName"], trigger["triggerType"], trigger["qualifier"]) == ("httpTrigger", "http", "LATEST")
    assert trigger["triggerConfig"] == {"authType": "anonymous", "methods": ["GET", "POST"]}
    assert plan.code is None
    assert manifest.notes == ()


def test_the_sample_deployment_is_read_and_names_three_functions_of_one_service() -> None:
    manifest = load_manifest(ROOT / "s.yaml", {})
    assert [str(plan.function["functionName"]) for plan in manifest.plans] == ["digits", "spam_detection", "flask_app"]
    assert {plan.service_name for plan in manifest.plans} == {"samples"}
    assert all(plan.code is not None and plan.code.is_dir() for plan in manifest.plans)


def test_what_the_file_does_not_say_has_its_default(tmp_path: Path) -> None:
    (plan,) = read(tmp_path, MINIMAL).plans
    assert plan.function["memorySize"] == 512
    assert plan.function["timeout"] == 3
    assert plan.function["instanceConcurrency"] == 1
    assert plan.service["internetAccess"] is True


def test_edition_1_is_meant_where_the_file_names_none(tmp_path: Path) -> None:
    assert read(tmp_path, MINIMAL.replace("edition: 1.0.0\n", "")).edition == "1.0.0"


def test_a_code_folder_is_found_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = MINIMAL.replace("runtime: custom, handler: not-used", "runtime: python3.11, handler: a.b, codeUri: ./code")
    assert read(tmp_path, text).plans[0].code == tmp_path / "code"


def test_a_methods_case_does_not_matter(tmp_path: Path) -> None:
    (plan,) = read(tmp_path, MINIMAL.replace("[GET]", "[get, Post]")).plans
    assert plan.triggers[0]["triggerConfig"]["methods"] == ["GET", "POST"]


def test_numbers_in_environment_variables_are_taken_as_they_are_spelled(tmp_path: Path) -> None:
    text = MINIMAL.replace("handler: not-used", "handler: x, environmentVariables: {A: 1.10, B: true, C: 007, D: yes}")
    assert read(tmp_path, text).plans[0].function["environmentVariables"] == {
        "A": "1.10",
        "B": "true",
        "C": "007",
        "D": "yes",
    }


def test_fields_without_effect_are_accepted_and_pointed_out(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "service: {name: svc}", "service: {name: svc, ossMountConfig: {mountPoints: []}, vpcConfig: auto}"
    )
    (note,) = read(tmp_path, text).notes
    assert "s.yaml:8: services.one.props.service.ossMountConfig: has no effect" in note


def test_mounts_are_read_as_the_component_of_the_edition_spells_them(tmp_path: Path) -> None:
    points = "[{serverAddr: nas.local, nasDir: /models, fcDir: /mnt/a}, {serverAddr: 'emptydir://', mountDir: /mnt/b}]"
    text = MINIMAL.replace("{name: svc}", f"{{name: svc, nasConfig: {{userId: 5, groupId: 6, mountPoints: {points}}}}}")
    (plan,) = read(tmp_path, text).plans
    assert plan.service["nasConfig"] == {
        "userId": 5,
        "groupId": 6,
        "mountPoints": [
            {"serverAddr": "nas.local:/models", "mountDir": "/mnt/a"},
            {"serverAddr": "emptydir://", "mountDir": "/mnt/b"},
        ],
    }


def test_a_mount_that_cannot_be_is_named_by_its_line_and_field(tmp_path: Path) -> None:
    mounts = "nasConfig: {mountPoints: [{serverAddr: 'nas:/a', mountDir: mnt}]}"
    with pytest.raises(BadInput) as refused:
        read(tmp_path, MINIMAL.replace("{name: svc}", f"{{name: svc, {mounts}}}"))
    field = "services.one.props.service.nasConfig.mountPoints[0].mountDir"
    assert f's.yaml:8: {field}: is "mnt": must be an absolute path' in str(refused.value)


def test_a_file_system_that_fc_would_make_is_noted_as_not_made(tmp_path: Path) -> None:
    found = read(tmp_path, MINIMAL.replace("{name: svc}", "{name: svc, nasConfig: auto}"))
    assert "nasConfig: has no effect: no file system is made here" in found.notes[0]
    assert "nasConfig" not in found.plans[0].service


def test_a_component_may_be_pinned_to_a_version(tmp_path: Path) -> None:
    assert read(tmp_path, MINIMAL.replace("component: fc", "component: fc@0.1.35")).plans


# -- vars and the environment ---------------------------------------------------------------------------------------


def test_a_reference_alone_takes_the_type_of_what_it_refers_to(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: app", "name: app\nvars: {seconds: 7, svc: {name: other}}")
    text = text.replace("{name: svc}", "'${vars.svc}'").replace(
        "runtime: custom,", "runtime: custom, timeout: '${vars.seconds}',"
    )
    (plan,) = read(tmp_path, text).plans
    assert plan.function["timeout"] == 7
    assert plan.service_name == "other"


def test_a_reference_inside_a_text_becomes_text(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: app", "name: app\nvars: {stage: test, inner: '${vars.stage}-x'}")
    text = text.replace("name: svc", "name: 'svc-${vars.inner}-${env.USER_NAME}'")
    assert read(tmp_path, text, USER_NAME="me").plans[0].service_name == "svc-test-x-me"


@pytest.mark.parametrize("written", ["${env('NAME')}", '${env("NAME")}', "${env.NAME}", "${ env('NAME', 'other') }"])
def test_the_environment_is_read_in_every_spelling(tmp_path: Path, written: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(MINIMAL.replace("{name: svc}", f"\n        name: {written}"))
    assert load_manifest(path, {"NAME": "found"}).plans[0].service_name == "found"


def test_a_default_stands_in_for_a_variable_that_is_not_set(tmp_path: Path) -> None:
    text = MINIMAL.replace("{name: svc}", "\n        name: ${env('NAME', 'fallback')}")
    assert read(tmp_path, text).plans[0].service_name == "fallback"


def test_two_dollars_stand_for_a_reference_that_is_not_filled_in(tmp_path: Path) -> None:
    text = MINIMAL.replace("handler: not-used", "handler: x, environmentVariables: {A: 'a $${B} c'}")
    assert read(tmp_path, text).plans[0].function["environmentVariables"] == {"A": "a ${B} c"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${vars.none}", "${vars.none}: no such variable under vars; there: a, b"),
        ("${env.NOT_SET}", "${env.NOT_SET}: the environment variable NOT_SET is not set"),
        ("${file('x')}", "${file('x')} is not understood; allowed: ${vars.NAME}, ${env('NAME')}"),
        ("${vars.a}", "${vars.a} refers to itself"),
        ("x${vars.b}", "${vars.b} is a mapping or a list and cannot stand inside a text"),
    ],
)
def test_a_reference_that_leads_nowhere_names_its_line(tmp_path: Path, written: str, expected: str) -> None:
    text = MINIMAL.replace("name: app", "name: app\nvars: {a: '${vars.a}', b: [1]}")
    found = problems(tmp_path, text.replace("name: fn", f'name: "{written}"'))
    assert any(line.startswith("10: services.one.props.function.name: ") and expected in line for line in found)


# -- files that are wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "runtime: custom,",
            "runtim: custom,",
            "9: services.one.props.function.runtim: unknown field; did you mean runtime?",
        ),
        ("runtime: custom,", "", "9: services.one.props.function: the field runtime is required"),
        (
            "runtime: custom,",
            "runtime: nodejs14,",
            '9: services.one.props.function.runtime: "nodejs14" is not allowed: must be one of python3',
        ),
        (
            "handler: not-used",
            "handler: x, timeout: 0",
            "function.timeout: 0 is not allowed: must be greater than or equal to 1",
        ),
        (
            "handler: not-used",
            "handler: x, timeout: soon",
            'function.timeout: "soon" is not allowed: must be a valid integer',
        ),
        ("handler: not-used", "handler: x, memorySize: [1]", "function.memorySize: [1] is not allowed"),
        (
            "handler: not-used",
            "handler: x, environmentVariables: {A: [1]}",
            "environmentVariables.A: [1] is not allowed: must be a text",
        ),
        (
            "handler: not-used",
            "handler: x, ossBucket: b",
            "function.ossBucket: not supported: there is no object store here; use codeUri",
        ),
        ("handler: not-used", "handler: x, codeUri: ./none", 'function.codeUri: "./none" does not exist'),
        (
            "handler: not-used",
            "handler: x, codeUri: s.yaml",
            'function.codeUri: "s.yaml" is neither a folder nor a .zip file',
        ),
        (
            "runtime: custom, handler: not-used",
            "runtime: python3.11, handler: app",
            'function.handler: "app" is not allowed: must be module.attribute',
        ),
        (
            "runtime: custom, handler: not-used",
            "runtime: python3.11, handler: a.b",
            "function: the field codeUri is required for the runtime python3.11",
        ),
        (
            "handler: not-used",
            "handler: x, customRuntimeConfig: {cmd: [a]}",
            "customRuntimeConfig.cmd: unknown field; allowed: args, command",
        ),
        (
            "handler: not-used",
            "handler: x, customRuntimeConfig: {command: a}",
            'customRuntimeConfig.command: "a" is not allowed: must be a valid list',
        ),
        ("name: fn", "name: 1fn", 'function.name: "1fn" is not allowed: must match pattern'),
        ("name: svc", "name: a.b", 'service.name: "a.b" is not allowed: must match pattern'),
        (
            "service: {name: svc}",
            "service: svc",
            "7: services.one.props: the field service is required: a mapping with at least a name",
        ),
        (
            "component: fc",
            "component: vue",
            '6: services.one.component: "vue" is not allowed: must be one of fc, devsapp/fc',
        ),
        (
            "type: http",
            "type: timer",
            '10: services.one.props.triggers[0].type: "timer" is not served here: must be http',
        ),
        ("[GET]", "[FETCH]", "triggers[0].config.methods[0]: \"FETCH\" is not allowed: must be 'GET'"),
        ("[GET]", "[]", "triggers[0].config.methods: [] is not allowed"),
        (
            "methods: [GET]",
            "authType: token, methods: [GET]",
            "triggers[0].config.authType: \"token\" is not allowed: must be 'anonymous', 'function' or 'jwt'",
        ),
        (", config: {methods: [GET]}", "", "triggers[0]: the field config is required"),
        ("edition: 1.0.0", "edition: 2.0.0", '2: edition: "2.0.0" is not allowed: must be one of 1.0.0, 3.0.0'),
        ("services:", "service:", "service: unknown field; did you mean services?"),
    ],
)
def test_a_wrong_field_is_named_with_its_line_its_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in MINIMAL
    found = problems(tmp_path, MINIMAL.replace(old, new))
    assert any(expected in line for line in found), found


def test_all_problems_are_named_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: svc", "name: svc, colour: red").replace("handler: not-used", "timeout: 0, memry: 1")
    lines = [int(line.split(":")[0]) for line in problems(tmp_path, text)]
    assert lines == [8, 9, 9]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "2: the key 'a' is given twice"),
        ("a: [1\n", "not valid YAML"),
        ("a: &x [*x]\n", "1:"),
        ("? [a]\n: b\n", "1: a key must be a word"),
        (
            "a: !!python/object:os.system x\n",
            "1: the tag 'tag:yaml.org,2002:python/object:os.system' is not known here",
        ),
        ("- a\n", '1: the file: ["a"] is not allowed: must be a mapping'),
        ("", "1: the file: null is not allowed: must be a mapping"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "\n".join(f"{k}: &{k} [{', '.join(['*' + chr(ord(k) - 1)] * 10)}]" for k in "bcdef")
            + "\n",
            "more than 50000 values",
        ),
    ],
)
def test_what_is_no_deployment_file_is_refused_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in line for line in problems(tmp_path, text))


def test_merged_keys_yield_to_the_mappings_own(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: app", "name: app\nvars: {base: &base {timeout: 5, cpu: 1}}")
    text = text.replace("{name: fn,", "{<<: *base, cpu: 2, name: fn,")
    (plan,) = read(tmp_path, text).plans
    assert (plan.function["timeout"], plan.function["cpu"]) == (5, 2)


def test_a_service_described_twice_must_be_described_alike(tmp_path: Path) -> None:
    second = MINIMAL.split("services:\n")[1].replace("one:", "two:").replace("name: fn", "name: fn2")
    text = MINIMAL + second.replace("{name: svc}", "{name: svc, description: other}")
    (line,) = problems(tmp_path, text)
    assert "services.two.props.service: the service svc is also described under one, differently (description)" in line


def test_a_function_described_twice_is_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, MINIMAL + MINIMAL.split("services:\n")[1].replace("one:", "two:"))
    assert "the function fn of the service svc is also described under one" in line


# -- finding and choosing -------------------------------------------------------------------------------------------


def test_s_yaml_is_looked_for_before_s_yml(tmp_path: Path) -> None:
    assert find_template(None, tmp_path) is None
    (tmp_path / "s.yml").write_text("")
    assert find_template(None, tmp_path) == tmp_path / "s.yml"
    (tmp_path / "s.yaml").write_text("")
    assert find_template(None, tmp_path) == tmp_path / "s.yaml"


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        find_template(tmp_path / "none.yaml", tmp_path)


def test_a_function_is_chosen_by_its_name_or_by_its_key() -> None:
    plans = load_manifest(ROOT / "s.yaml", {}).plans
    assert [plan.key for plan in select_plans(plans, None, "digits")] == ["digits"]
    assert len(select_plans(plans, "samples", None)) == 3
    with pytest.raises(BadInput, match=r"no function \*/digit in the file; there: samples/digits"):
        select_plans(plans, None, "digit")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("{name: http, type: http, qualifier: prod, config: {methods: [GET]}}", "the name http"),
        ("{name: other, type: http, config: {methods: [GET]}}", "the qualifier LATEST"),
    ],
)
def test_two_triggers_of_a_function_differ_in_name_and_qualifier(tmp_path: Path, more: str, says: str) -> None:
    text = MINIMAL.replace("methods: [GET]}}]", f"methods: [GET]}}}}, {more}]")
    (problem,) = problems(tmp_path, text)
    assert problem == f"10: services.one.props.triggers[1]: another trigger has {says}: must be another one"
