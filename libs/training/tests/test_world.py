"""Several processes under torchrun make one run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vermeil_training import join_world
from vermeil_training.testing import SmallRun

PROGRAM = Path(__file__).with_name("torchrun_run.py")


def torchrun(processes: int, small: SmallRun, folder: Path, batch_size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, str(PROGRAM), str(small.encoded.folder), str(folder), str(batch_size)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.slow
def test_two_processes_learn_as_one_with_a_doubled_batch(small: SmallRun, tmp_path: Path) -> None:
    two = torchrun(2, small, tmp_path / "two", 4)
    one = torchrun(1, small, tmp_path / "one", 8)
    assert two["losses"] == pytest.approx(one["losses"], abs=2e-4)
    assert two["validation"] == pytest.approx(one["validation"], abs=2e-4)
    assert two["tokens"] == one["tokens"]


def test_without_torchrun_a_process_is_alone() -> None:
    with join_world({}) as world:
        assert (world.rank, world.size, world.leads) == (0, 1, True)
