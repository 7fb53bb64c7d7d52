"""What the tests' kubelet keeps of its Pods' outputs goes with it."""

from __future__ import annotations

from tests.support.kube_api import KubeApi
from tests.support.kube_kubelet import ProcessKubelet


async def test_a_kubelet_that_is_closed_leaves_no_folder() -> None:
    kubelet = ProcessKubelet(KubeApi())
    (kubelet.folder / "pod-1").write_text("said")
    await kubelet.close()
    assert not kubelet.folder.exists()
