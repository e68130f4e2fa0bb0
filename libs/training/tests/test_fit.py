"""What a run does, from its first step to what it leaves behind."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from vermeil_data.loader import Batch
from vermeil_errors import InvalidInput
from vermeil_training import (
    PLOT,
    Losses,
    Objective,
    OptimizerConfig,
    Progress,
    RunConfig,
    TrainingConfig,
    Work,
    evaluate_loss,
    fit,
    make_state,
    next_token_loss,
    read_metrics,
    train_step,
)
from vermeil_training.testing import CONTEXT, SmallRun, same_weights

GOLDEN = Path(__file__).with_name("golden_20_steps.json")
Configure = Callable[..., TrainingConfig]


def run(small: SmallRun, config: TrainingConfig, folder: Path, **options: object):
    model = small.model()
    result = fit(config, model, small.loader(), small.validation(), folder, **options)
    return result, model


@pytest.mark.parametrize(
    ("kind", "precision", "tolerance"),
    [("adamw", "fp32", 5e-3), ("muon", "fp32", 0.03), ("muon", "bf16", 0.06)],
)
def test_twenty_steps_follow_the_golden_curve(
    small: SmallRun, kind: str, precision: str, tolerance: float
) -> None:
    # Drawn on a Zen 5 core; sums in the order of a Zen 1 core, without AVX-512, move AdamW's by 0.0022.
    config = TrainingConfig(OptimizerConfig(kind=kind), run=RunConfig(steps=20, precision=precision))
    state = make_state(config, small.model())
    loader = small.loader()
    losses = [float(train_step(state, loader).loss) for _ in range(20)]
    golden = json.loads(GOLDEN.read_text())[f"{kind} {precision}"]
    assert losses == pytest.approx(golden, abs=tolerance)
    assert losses[-1] < losses[0] - 1


def test_the_same_run_twice_gives_the_same_bits(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    one, model = run(small, config, tmp_path / "one")
    two, again = run(small, config, tmp_path / "two")
    assert same_weights(model, again)
    assert (one.train_loss, one.validation_loss) == (two.train_loss, two.validation_loss)


def test_the_log_has_a_line_of_figures_for_every_look(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    result, _ = run(small, config, tmp_path)
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines if "loss" in line] == [3, 6, 9, 12]
    assert [line["step"] for line in lines if "validation_loss" in line] == [5, 10, 12]
    last = [line for line in lines if "loss" in line][-1]
    assert last["tokens"] == result.items == 12 * 2 * 4 * CONTEXT
    assert last["tokens_per_second"] > 0
    assert 0 < last["mfu"] < 1
    assert last["gradient_norm"] > 0
    assert last["learning_rate_muon"] == pytest.approx(0.02 / (0.4 * 12))
    assert result.finished
    assert result.cpu_seconds > 0


def test_the_log_is_drawn_and_read_by_tensorboard(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    result, _ = run(small, config, tmp_path)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [3, 6, 9, 12]
    assert events.Scalars("validation_loss")[-1].value == pytest.approx(result.validation_loss)


def test_progress_is_told_after_every_step(small: SmallRun, config: TrainingConfig, tmp_path: Path) -> None:
    told: list[Progress] = []
    run(small, config, tmp_path, on_progress=told.append)
    assert [progress.step for progress in told] == list(range(13))
    assert told[-1].validation_loss is not None
    assert told[-1].steps == 12


def test_accumulated_micro_batches_make_the_step_of_one_large_batch(
    small: SmallRun, with_run: Configure
) -> None:
    losses = []
    for batch_size, accumulation in ((4, 2), (8, 1)):
        settings = with_run(accumulation=accumulation, precision="fp32")
        state = make_state(replace(settings, optimizer=OptimizerConfig("adamw")), small.model())
        loader = small.loader(batch_size)
        losses.append([float(train_step(state, loader).loss) for _ in range(5)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


class Given:
    """Batches that are given."""

    def __init__(self, *batches: Batch) -> None:
        self._batches = iter(batches)

    def __next__(self) -> Batch:
        return next(self._batches)

    def state(self) -> None:
        """Nobody goes back."""

    def restore(self, state: None) -> None:
        """As above."""


class EvenAndOdd:
    """The mean loss of even tokens, and twice that of odd ones."""

    def __call__(self, model, batch, generator) -> Losses:
        means = torch.stack(
            [
                (1 + odd) * next_token_loss(model, batch._replace(targets_BT=targets_BT), generator)
                for odd, targets_BT in enumerate(self._targets(batch))
            ]
        )
        return Losses(means.sum(), {}, means=means)

    def weights(self, batch: Batch) -> torch.Tensor:
        return torch.stack([(targets_BT != -100).sum() for targets_BT in self._targets(batch)])

    @staticmethod
    def _targets(batch: Batch) -> list[torch.Tensor]:
        counted = batch.targets_BT != -100
        return [batch.targets_BT.where(counted & (batch.targets_BT % 2 == odd), -100) for odd in range(2)]


@pytest.mark.parametrize("objective", [next_token_loss, EvenAndOdd()])
def test_batches_count_by_how_much_is_learned_from_them(
    small: SmallRun, with_run: Configure, objective: Objective[Batch]
) -> None:
    whole = next(small.loader(8))
    whole.targets_BT[4:] = whole.targets_BT[4:].where(whole.targets_BT[4:] < 110, -100)  # a few of them
    whole = whole._replace(documents_BT=None)
    halves = [
        whole._replace(tokens_BT=whole.tokens_BT[rows], targets_BT=whole.targets_BT[rows])
        for rows in (slice(4), slice(4, 8))
    ]
    results, validations, alone = [], [], []
    for batches in ([whole], halves):
        model, generator = small.model(), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():  # fresh ones foretell everything equally badly
                weight.normal_(0, 0.2, generator=generator)
        state = make_state(with_run(accumulation=len(batches), precision="fp32", ema_decay=0.0), model)
        alone = [evaluate_loss(state, Given(half), 1, objective).loss for half in halves]
        validations.append(evaluate_loss(state, Given(*batches), len(batches), objective).loss)
        results.append(train_step(state, Given(*batches), objective))
    assert abs(alone[0] - alone[1]) > 0.01
    assert float(results[0].loss) == pytest.approx(float(results[1].loss), abs=1e-5)
    assert float(results[0].gradient_norm) == pytest.approx(float(results[1].gradient_norm), rel=1e-4)
    assert validations == pytest.approx([float(results[0].loss)] * 2, abs=1e-5)


def test_clipping_limits_how_far_a_gradient_reaches(small: SmallRun, config: TrainingConfig) -> None:
    moved = []
    for largest in (0.0, 1e-6):
        optimizer = OptimizerConfig("adamw", gradient_clip=largest)
        state = make_state(replace(config, optimizer=optimizer), small.model())
        result = train_step(state, small.loader())
        moved.append(max(float(mean.abs().max()) for mean in state.optimizers[0].slots["mean"]))
        assert result.gradient_norm > 0.1
    assert moved[1] < 1e-6 < moved[0]


def test_activation_checkpointing_changes_no_bit(
    small: SmallRun, with_run: Configure, tmp_path: Path
) -> None:
    _, plain = run(small, with_run(), tmp_path / "plain")
    _, frugal = run(small, with_run(activation_checkpointing=True), tmp_path / "frugal")
    assert same_weights(plain, frugal)


@pytest.mark.slow
def test_a_compiled_run_learns_the_same(small: SmallRun, with_run: Configure, tmp_path: Path) -> None:
    plain, _ = run(small, with_run(precision="fp32"), tmp_path / "plain")
    compiled, _ = run(small, with_run(precision="fp32", compile=True), tmp_path / "compiled")
    assert compiled.validation_loss == pytest.approx(plain.validation_loss, abs=0.01)


def test_the_average_is_what_is_validated_and_left_in_the_model(
    small: SmallRun, with_run: Configure, tmp_path: Path
) -> None:
    averaged, model = run(small, with_run(ema_decay=0.9), tmp_path / "averaged")
    plain, last = run(small, with_run(ema_decay=0.0), tmp_path / "plain")
    assert averaged.train_loss == plain.train_loss
    assert not same_weights(model, last)
    state = make_state(with_run(ema_decay=0.0), model)
    assert evaluate_loss(state, small.validation(), 2).loss == averaged.validation_loss


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_its_checkpoint(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    calls = 0

    def breaks_in_step_seven(model, batch, generator):
        nonlocal calls
        calls += 1
        loss = next_token_loss(model, batch, generator)
        return loss * math.nan if calls == 2 * 6 + 1 + 2 else loss  # and one validation of two batches

    with pytest.raises(InvalidInput, match=r"the loss is nan at step 7.*learning_rate"):
        run(small, config, tmp_path, objective=breaks_in_step_seven)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]


class _BreaksBackwards(torch.autograd.Function):
    """As it is on the way there, no number on the way back."""

    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


@pytest.mark.parametrize(
    ("breaking", "kept"), [(8, ["step-00000004"]), (12, ["step-00000004", "step-00000008"])]
)
def test_a_gradient_that_is_no_number_reaches_no_checkpoint_and_no_model(
    small: SmallRun, with_run: Configure, tmp_path: Path, breaking: int, kept: list[str]
) -> None:
    calls = 0

    def breaks_in_a_step(model, batch, generator):
        nonlocal calls
        calls += torch.is_grad_enabled()
        loss = next_token_loss(model, batch, generator)
        return _BreaksBackwards.apply(loss) if calls == breaking else loss

    with pytest.raises(InvalidInput, match=rf"the norm of the gradient is nan at step {breaking};"):
        run(small, with_run(accumulation=1), tmp_path, objective=breaks_in_a_step)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == kept


def test_a_validation_that_is_no_number_ends_the_run(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    def breaks_when_measured(model, batch, generator):
        loss = next_token_loss(model, batch, generator)
        return loss if torch.is_grad_enabled() else loss * math.inf

    with pytest.raises(InvalidInput, match="the validation loss is inf at step 5"):
        run(small, config, tmp_path, objective=breaks_when_measured)


def test_validation_is_the_mean_over_counted_targets(small: SmallRun, with_run: Configure) -> None:
    state = make_state(with_run(precision="fp32", ema_decay=0.0), small.model())
    loss = evaluate_loss(state, small.validation(), 3).loss
    batches = small.validation()
    with torch.no_grad():
        by_hand = [next_token_loss(state.model, next(batches), state.generator) for _ in range(3)]
    assert loss == pytest.approx(float(torch.stack(by_hand).mean()), abs=1e-6)


def test_parts_of_a_loss_are_logged_as_means_over_what_had_them(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    def of_two_parts(model, batch, generator):
        loss = next_token_loss(model, batch, generator)
        one, none = torch.ones(()), torch.zeros(())
        return Losses(loss, {"words": (loss.detach() * 3, 3 * one), "pictures": (none, none)})

    run(small, config, tmp_path, objective=of_two_parts)
    lines = read_metrics(tmp_path)
    for kind in ("loss", "validation_loss"):
        found = [line for line in lines if kind in line]
        assert found
        for line in found:
            assert line[f"{kind}_words"] == pytest.approx(line[kind], rel=1e-5)
            assert f"{kind}_pictures" not in line


def test_speeds_are_logged_by_modality_and_their_shares_of_the_peak_add_up(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    class Mixed(torch.nn.Module):
        """A network that is not known to read text alone."""

        def __init__(self) -> None:
            super().__init__()
            self.text = small.model()

    def of_two_modalities(model, batch, generator):
        count = torch.tensor(4.0)
        work = {"text": Work("words", count, 1e6 * count), "image": Work("pictures", count / 2, 3e6 * count)}
        loss = next_token_loss(model.text, batch, generator)
        return Losses(loss, {"all/text": (loss.detach(), torch.ones(()))}, work)

    fit(config, Mixed(), small.loader(), small.validation(), tmp_path, objective=of_two_modalities)
    for line in (line for line in read_metrics(tmp_path) if "loss" in line):
        assert line["words_per_second"] == pytest.approx(2 * line["pictures_per_second"])
        assert line["mfu_image"] == pytest.approx(3 * line["mfu_text"])
        assert line["mfu"] == pytest.approx(line["mfu_text"] + line["mfu_image"])
    with Image.open(tmp_path / PLOT) as plot:
        width, height = plot.size
    assert height > width / 2  # three rows: losses and their parts, two speeds and MFU


def test_what_is_done_before_a_step_hears_how_many_were_done(
    small: SmallRun, config: TrainingConfig, tmp_path: Path
) -> None:
    heard: list[int] = []
    run(small, config, tmp_path, before_step=heard.append)
    assert heard == list(range(12))
