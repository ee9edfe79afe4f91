"""What narrower networks cost, measured on copies: parameters, FLOPs, time."""

from __future__ import annotations

from collections.abc import Sequence

from kd_yolo.config.prune import Target
from kd_yolo.prune.network import Network
from kd_yolo.prune.plan import Widths
from kd_yolo.yolo.measure import Latency, Size, measure_latency, measure_size, onnx_runner, torch_runner


class Cost:
    """Cuts copies of a network and measures them in the unit of a target; equal widths are measured once.

    Args:
        network: ranked; it is not touched.
        target: what is measured.
    """

    def __init__(self, network: Network, target: Target) -> None:
        self.network, self.target = network, target
        self._known: dict[tuple[int, ...], float] = {}
        self._whole_ms: float | None = None

    def __call__(self, widths: Widths) -> float:
        key = tuple(widths.values())
        if key not in self._known:
            self._known[key] = self._measure(self.network.cut(widths, proof=False))
        return self._known[key]

    def _measure(self, candidate: Network) -> float:
        if self.target.what == "latency":
            whole, narrow = latency_of((self.network, candidate))
            self._whole_ms = self._whole_ms or whole.p50_ms  # what else the machine does slows both down
            return narrow.p50_ms * self._whole_ms / whole.p50_ms
        size = size_of(candidate)
        return size.deployed_gflops if self.target.what == "flops" else size.deployed_parameters / 1e6


def size_of(network: Network) -> Size:
    """Layers, parameters and GFLOPs at the settings' image size."""
    return measure_size(network.model, network.settings.imgsz)


def latency_of(networks: Sequence[Network]) -> list[Latency]:
    """Wall time of each network, timed in turns."""
    settings = networks[0].settings
    onnx = settings.runtime == "onnx"
    runners = {
        str(i): onnx_runner(one.model, settings.imgsz, 1) if onnx else torch_runner(one.model, settings.imgsz)
        for i, one in enumerate(networks)
    }
    times = measure_latency(runners, rounds=settings.latency_rounds, warmup=2, threads=1)
    return list(times.values())
