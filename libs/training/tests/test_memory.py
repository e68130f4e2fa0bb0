"""What a step frees stays at hand for the next one."""

import resource

import pytest
import torch
from vermeil_training.memory import keep_freed_memory

PAGE = resource.getpagesize()
PIECES, PIECE_BYTES = 8, 8 * 2**20


def faults_of_a_step() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.ones(PIECE_BYTES, dtype=torch.uint8) for _ in range(PIECES)]
    del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_the_second_step_takes_no_page_from_the_system_again() -> None:
    if not keep_freed_memory():
        pytest.skip("this C library has no mallopt")
    faults_of_a_step()
    assert faults_of_a_step() < PIECES * PIECE_BYTES / PAGE / 20
