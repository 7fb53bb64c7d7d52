"""KServe's REST client against the models of functions: `calls_kserve.py BASE`, as calls_tritonclient has them.

Only what the client itself imports is installed beside it: `import kserve` would ask for all that its servers need.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import types

import numpy as np

package = types.ModuleType("kserve")
package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
sys.modules["kserve"] = package

from kserve.inference_client import InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput  # noqa: E402

ONE = np.arange(16, dtype=np.int32).reshape(1, 16)
OTHER = np.full((1, 16), 3, dtype=np.int32)


def tensor(name, array, binary, datatype="INT32"):
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def main():
    base = f"http://{sys.argv[1]}/adder"
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(base)
    assert await client.is_server_ready(base)
    assert await client.is_model_ready(base, "adder")
    assert not await client.is_model_ready(base, "other")
    print("answered health")
    for binary_in in (True, False):
        for binary_out in (True, False):
            asked = InferRequest(
                "adder",
                [tensor("INPUT0", ONE, binary_in), tensor("INPUT1", OTHER, binary_in)],
                request_outputs=[RequestedOutput("OUTPUT0", parameters={"binary_data": binary_out})],
            )
            result = await client.infer(base, asked, model_name="adder")
            assert (result.get_output_by_name("OUTPUT0").as_numpy() == ONE + OTHER).all()
            print("answered infer", "binary" if binary_in else "json", "binary" if binary_out else "json")
    listed = {"inputs": [
        {"name": name, "shape": [1, 16], "datatype": "INT32", "data": array.tolist()}
        for name, array in (("INPUT0", ONE), ("INPUT1", OTHER))]}  # fmt: skip
    result = await client.infer(base, listed, model_name="adder")
    assert (result.get_output_by_name("OUTPUT1").as_numpy() == ONE - OTHER).all()
    try:
        await client.infer(base, {"inputs": []}, model_name="adder")
    except Exception as error:
        assert "expected 2 inputs but got 0" in str(error), error
        assert error.response.status_code == 400
        print("refused infer 400")
    else:
        raise AssertionError("a request without inputs was not refused")
    await client.close()


asyncio.run(main())
