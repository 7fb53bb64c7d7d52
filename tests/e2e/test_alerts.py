"""The alerting rules fire at what they say, by Prometheus's own tool; `tests/data/alerts.test.yaml` has the cases."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "monitoring" / "alerts.yaml"
CASES = ROOT / "tests" / "data" / "alerts.test.yaml"


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts


def test_promtool_sees_them_fire_and_be_quiet_as_the_cases_say() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on this machine: Debian's package prometheus has it")
    done = subprocess.run(
        [program, "test", "rules", str(CASES)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
