"""Which handlers name a model, and which code."""

from __future__ import annotations

import pytest

from control_plane.api.functions import check
from control_plane.errors import InvalidArgument
from control_plane.model import Function
from runtime.contract import MODEL_HANDLER


def function(handler: str) -> Function:
    given = {"serviceName": "s", "functionName": "f", "runtime": "python3", "handler": handler, "codeSha256": "ab"}
    return Function.model_validate(given)


@pytest.mark.parametrize(
    "handler",
    ["model.onnx", "resnet50-v1-7.onnx", "nets/digits.v2/model.onnx", "digits/", "./", "./a/b/", "a-b/model.yaml"],
)
def test_a_file_a_folder_and_its_model_yaml_name_a_model(handler: str) -> None:
    assert MODEL_HANDLER.fullmatch(handler)
    check(function(handler))


@pytest.mark.parametrize("handler", ["app.handler", "package.module.app", "package/module.app"])
def test_module_and_attribute_name_code(handler: str) -> None:
    assert not MODEL_HANDLER.fullmatch(handler)
    check(function(handler))


@pytest.mark.parametrize("handler", ["app", "/model/", "a//b/", "digits", "-/"])
def test_what_names_neither_is_refused_with_both_that_are_allowed(handler: str) -> None:
    message = f"handler is '{handler}': must be module.attribute for runtime python3, or a model: model.onnx, or its"
    with pytest.raises(InvalidArgument, match=message.replace(".", r"\.")):
        check(function(handler))
