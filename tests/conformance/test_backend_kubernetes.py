"""The one suite of backends over Kubernetes: an API server in this process, or a cluster (`STOKE_TEST_KUBECONFIG`)."""

from __future__ import annotations

from tests.conformance.backend_suite import RunningBackendSuite
from tests.conformance.cluster_beds import KubernetesBeds


class TestKubernetes(RunningBackendSuite):
    beds_class = KubernetesBeds
