"""Stopped, killed or broken off anywhere, a run ends with the weights of an undisturbed one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from vermeil_training import TrainingConfig, fit, next_token_loss, read_metrics, train_step
from vermeil_training.testing import SmallRun, same_weights

TIMES = ("seconds", "cpu_seconds", "tokens_per_second", "mfu")


def steady_lines(folder: Path) -> list[dict[str, float]]:
    """The log without what a clock has a say in."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(folder)]


def noisy(model, batch, generator):
    """An objective that draws: flow matching will."""
    return next_token_loss(model, batch, generator) * (1 + torch.rand((), generator=generator))


@pytest.fixture(scope="module")
def undisturbed(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Runs a configuration once, to the end."""
    done = {}

    def of(config: TrainingConfig):
        if config not in done:
            folder = tmp_path_factory.mktemp("undisturbed")
            model = small.model()
            result = fit(config, model, small.loader(), small.validation(), folder, objective=noisy)
            done[config] = result, model, folder
        return done[config]

    return of


@pytest.mark.parametrize("calls", [1, 6, 7, 8, 13, 18, 23])
def test_a_run_that_is_asked_to_stop_goes_on_bit_for_bit(
    small: SmallRun, config: TrainingConfig, undisturbed: Callable, tmp_path: Path, calls: int
) -> None:
    left = calls

    def should_stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    parts = []
    model = small.model()
    for stop in (should_stop, lambda: False):
        model = small.model()
        parts.append(
            fit(
                config, model, small.loader(), small.validation(), tmp_path, objective=noisy, should_stop=stop
            )
        )
    reference, weights, folder = undisturbed(config)
    assert [part.finished for part in parts] == [False, True]
    assert same_weights(model, weights)
    assert parts[1].validation_loss == reference.validation_loss
    assert parts[1].items == reference.items
    assert steady_lines(tmp_path) == steady_lines(folder)


class _Elsewhere(float):
    """A loss on a device that is not to be waited for."""

    device = torch.device("cuda")


def test_losses_that_were_not_read_before_a_stop_are_not_lost(
    small: SmallRun, config: TrainingConfig, undisturbed: Callable, tmp_path: Path, monkeypatch
) -> None:
    left = 16  # stops in step 8: of step 7 nobody has asked yet

    def should_stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def on_a_device(*arguments):
        result = train_step(*arguments)
        return result._replace(loss=_Elsewhere(result.loss))

    monkeypatch.setattr(import_module("vermeil_training.fit"), "train_step", on_a_device)
    for stop in (should_stop, lambda: False):
        loaders = small.loader(), small.validation()
        fit(config, small.model(), *loaders, tmp_path, objective=noisy, should_stop=stop)
    assert steady_lines(tmp_path) == steady_lines(undisturbed(config)[2])


@pytest.mark.parametrize("dies_in_call", [3, 9, 14, 22])
def test_a_run_that_breaks_off_goes_on_from_its_last_checkpoint(
    small: SmallRun, config: TrainingConfig, undisturbed: Callable, tmp_path: Path, dies_in_call: int
) -> None:
    calls = 0

    def dies() -> bool:
        nonlocal calls
        calls += 1
        if calls == dies_in_call:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        fit(
            config,
            small.model(),
            small.loader(),
            small.validation(),
            tmp_path,
            objective=noisy,
            should_stop=dies,
        )
    model = small.model()
    fit(config, model, small.loader(), small.validation(), tmp_path, objective=noisy)
    _, weights, folder = undisturbed(config)
    assert same_weights(model, weights)
    assert steady_lines(tmp_path) == steady_lines(folder)


def test_a_finished_run_does_nothing_more(
    small: SmallRun, config: TrainingConfig, undisturbed: Callable
) -> None:
    result, weights, folder = undisturbed(config)
    model = small.model()
    again = fit(config, model, small.loader(), small.validation(), folder, objective=noisy)
    assert again == result
    assert same_weights(model, weights)


@pytest.mark.slow
def test_kill_minus_nine_at_any_moment_changes_nothing(
    small: SmallRun, config: TrainingConfig, undisturbed: Callable, tmp_path: Path
) -> None:
    program = Path(__file__).with_name("killable_run.py")
    command = [sys.executable, str(program), str(small.encoded.folder), str(tmp_path)]
    for wait in (0.05, 0.3, 0.7):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    subprocess.run(command, check=True, capture_output=True)
    model = small.model()
    fit(config, model, small.loader(), small.validation(), tmp_path, objective=noisy)
    assert same_weights(model, undisturbed(config)[1])
