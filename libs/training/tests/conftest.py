"""One small run, and the promise that holds in every test."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from vermeil_training import OptimizerConfig, RunConfig, ScheduleConfig, TrainingConfig
from vermeil_training.testing import SmallRun


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun.in_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture
def config() -> TrainingConfig:
    """Twelve steps with everything on that carries state from step to step."""
    return TrainingConfig(
        OptimizerConfig(),
        ScheduleConfig(warmup_steps=2),
        RunConfig(
            steps=12,
            accumulation=2,
            ema_decay=0.9,
            evaluate_every=5,
            evaluate_batches=2,
            checkpoint_every=4,
            log_every=3,
        ),
    )


@pytest.fixture
def with_run(config: TrainingConfig) -> Callable[..., TrainingConfig]:
    """The same with some settings of the run replaced."""
    return lambda **changes: replace(config, run=replace(config.run, **changes))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small only wait for one another on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _the_global_random_state_stays_untouched() -> Iterator[None]:
    """Other jobs run in threads beside."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)
