"""What the GPUs of this machine do, asked of NVIDIA's own library when Prometheus looks.

Needs no package: libnvidia-ml comes with the driver, and containers get it with the device. Where there
is none, nothing is told. Knows nothing of torch, so it also sees what other processes hold.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily

_LIBRARY = "libnvidia-ml.so.1"
NAMES = {
    "utilization_ratio": "Share of the last moments in which something ran on the GPU, 0 to 1",
    "memory_used_bytes": "Memory of the GPU that anybody holds",
    "memory_total_bytes": "Memory of the GPU",
    "temperature_celsius": "Temperature of the GPU",
    "power_watts": "What the GPU draws",
}
_CORE_TEMPERATURE = 0


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Gpus:
    """A Prometheus collector; a number that a GPU does not tell is left out."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._handles: list[ctypes.c_void_p] = []
        count = ctypes.c_uint()
        if library.nvmlInit_v2() == 0 and library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0:
            for index in range(count.value):
                handle = ctypes.c_void_p()
                if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
                    self._handles.append(handle)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing is asked of the GPUs when the collector is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers now."""
        families = {
            name: GaugeMetricFamily(f"vermeil_gpu_{name}", NAMES[name], None, ["gpu"]) for name in NAMES
        }
        for index, handle in enumerate(self._handles):
            for name, value in self._look(handle):
                families[name].add_metric([str(index)], value)
        yield from families.values()

    def _look(self, handle: ctypes.c_void_p) -> Iterator[tuple[str, float]]:
        ask = self._library
        use, memory, number = _Utilization(), _Memory(), ctypes.c_uint()
        if ask.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(use)) == 0:
            yield "utilization_ratio", use.gpu / 100
        if ask.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
            yield "memory_used_bytes", memory.used
            yield "memory_total_bytes", memory.total
        if ask.nvmlDeviceGetTemperature(handle, _CORE_TEMPERATURE, ctypes.byref(number)) == 0:
            yield "temperature_celsius", number.value
        if ask.nvmlDeviceGetPowerUsage(handle, ctypes.byref(number)) == 0:
            yield "power_watts", number.value / 1000


def find_gpus() -> Gpus | None:
    """Those of this machine, if it has the library."""
    try:
        return Gpus(ctypes.CDLL(_LIBRARY))
    except OSError:
        return None
