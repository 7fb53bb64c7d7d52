"""What the samples of a function's provisioned instances say, metric by metric. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from provision.decide import MetricSample
from runtime.contract import InstanceRecord, InstanceState, Kind
from runtime.node_contract import InstanceSample

# What an instance's sample says about which metric of FC's.
SAMPLED: Final = {
    "CPUUtilization": "cpu_utilization",
    "GPUSmUtilization": "gpu_sm_utilization",
    "GPUMemUtilization": "gpu_memory_utilization",
    "GPUEncoderUtilization": "gpu_encoder_utilization",
    "GPUDecoderUtilization": "gpu_decoder_utilization",
}


def metric_samples(
    records: Iterable[InstanceRecord], samples: Mapping[str, InstanceSample], memory_mib: int
) -> Iterator[MetricSample]:
    """Of the ready, provisioned ones among `records`. A device's figures are as old as the device says."""
    for record in records:
        if record.kind is not Kind.PROVISIONED or record.state is not InstanceState.READY:
            continue
        sample = samples.get(record.instance_id)
        if sample is None:
            continue
        for metric_type, attribute in SAMPLED.items():
            value = getattr(sample, attribute)
            if value is not None:
                gpu_at_s = sample.gpu_at_s if attribute.startswith("gpu_") else None
                at_s = sample.at_s if gpu_at_s is None else gpu_at_s
                yield MetricSample(metric_type, record.instance_id, value, at_s)
        if sample.memory_mib is not None and memory_mib > 0:
            used = sample.memory_mib / memory_mib
            yield MetricSample("MemoryUtilization", record.instance_id, used, sample.at_s)
