"""What scripts/install adds on a machine with an NVIDIA driver."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", Path(__file__).parents[2] / "scripts" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("cuda", "good", "bad"), [(13, "1.31.1", "1.26.0"), (14, "1.31.1", "1.26.0"), (12, "1.26.0", "1.27.0")]
)
def test_onnx_runtime_is_the_one_whose_cuda_the_driver_can_run(gpu: Any, cuda: int, good: str, bad: str) -> None:
    [line] = gpu.packages(cuda)
    asked = Requirement(line)
    assert asked.name == "onnxruntime-gpu"
    assert asked.extras == {"cuda", "cudnn"}
    assert asked.specifier.contains(good)
    assert not asked.specifier.contains(bad)


@pytest.mark.parametrize("cuda", [0, 11])
def test_without_a_driver_that_is_new_enough_nothing_is_added(gpu: Any, cuda: int) -> None:
    assert gpu.packages(cuda) == []


def test_a_setting_answers_in_place_of_the_driver_and_a_wrong_one_is_named(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting, said in (("none", "\n"), ("12", "onnxruntime-gpu[cuda,cudnn] < 1.27\n")):
        monkeypatch.setenv("STOKE_CUDA", setting)
        assert (gpu.main(), capsys.readouterr().out) == (0, said)
    monkeypatch.setenv("STOKE_CUDA", "12.4")
    assert gpu.main() == 1
    assert "STOKE_CUDA is '12.4': 12, 13 or none is allowed" in capsys.readouterr().err


def test_a_driver_that_is_too_old_is_told(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STOKE_CUDA", raising=False)
    monkeypatch.setattr(gpu, "of_driver", lambda: 11)
    assert gpu.main() == 0
    told = capsys.readouterr()
    assert (told.out.strip(), "good for CUDA 11: 12 is needed" in told.err) == ("", True)
