"""The processes of a run: one alone, or several started by torchrun that share every step.

Knows how to meet and what to agree on; gradients are summed by DistributedDataParallel. The
variables are torchrun's own.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where this process computes."""

    @property
    def leads(self) -> bool:
        """True on the one process that writes files and logs."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        return self.total(value) / self.size

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """True on every process as soon as it is on one."""
        if self.size == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, value: Tensor) -> Tensor:
        """The values of all processes, stacked by rank."""
        if self.size == 1:
            return value[None]
        parts = [torch.empty_like(value) for _ in range(self.size)]
        dist.all_gather(parts, value)
        return torch.stack(parts)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def best_device(local_rank: int = 0) -> torch.device:
    """The accelerator of this process, or the CPU."""
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


@contextmanager
def join_world(environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """The world that torchrun started, or a world of one."""
    variables = os.environ if environment is None else environment
    if "WORLD_SIZE" not in variables:
        yield World(device=best_device())
        return
    device = best_device(int(variables["LOCAL_RANK"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
