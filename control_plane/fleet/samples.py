"""What the samples of instances say about metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from provision.decide import MetricSample
from runtime.contract import InstanceRecord, InstanceSample, InstanceState, Kind

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
    """Of the ready provisioned ones, each allowed `memory_mib`."""
    for record in records:
        if record.kind is not Kind.PROVISIONED or record.state is not InstanceState.READY:
            continue
        sample = samples.get(record.instance_id)
        if sample is None:
            continue
        for metric_type, attribute in SAMPLED.items():
            value = getattr(sample, attribute)
            if value is not None:
                yield MetricSample(metric_type, record.instance_id, value, sample.at_s)
        if sample.memory_mib is not None and memory_mib > 0:
            yield MetricSample("MemoryUtilization", record.instance_id, sample.memory_mib / memory_mib, sample.at_s)
