"""The protocol's own client, open-inference-openapi, against a model: `calls_open_inference.py BASE`.

The functions are those that calls_tritonclient has. This client sends every number as a float.
"""

from __future__ import annotations

import asyncio
import sys

from open_inference.openapi.client import AsyncOpenInferenceClient, InferenceRequest, OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.errors import BadRequestError

REQUEST = InferenceRequest(
    inputs=[
        {"name": name, "shape": [1, 16], "datatype": "INT32", "data": [list(range(16))]}
        for name in ("INPUT0", "INPUT1")
    ]
)


def check(result):
    assert result.model_name == "adder"
    assert [output.name for output in result.outputs] == ["OUTPUT0", "OUTPUT1"]
    assert result.outputs[0].data.__root__ == [2 * value for value in range(16)], result


async def main():
    base = f"http://{sys.argv[1]}/adder"
    client = OpenInferenceClient(base_url=base)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("adder")
    client.check_model_version_readiness("adder", "1")
    assert client.read_server_metadata().name == "stoke"
    assert client.read_model_metadata("adder").inputs[0].name == "INPUT0"
    check(client.model_infer("adder", request=REQUEST))
    check(client.model_version_infer("adder", "1", request=REQUEST))
    print("answered synchronous calls")
    try:
        client.read_model_metadata("other")
    except ApiError as error:
        assert error.status_code == 404
        assert "unknown model" in str(error.body), error
    try:
        client.model_infer("adder", request=InferenceRequest(inputs=[]))
    except BadRequestError as error:
        assert "expected 2 inputs" in str(error.body), error
    print("refused 404 and 400")
    check(await AsyncOpenInferenceClient(base_url=base).model_infer("adder", request=REQUEST))
    print("answered an asynchronous call")


asyncio.run(main())
