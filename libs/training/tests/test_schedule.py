"""The learning rate's way."""

import pytest
from vermeil_errors import InvalidInput
from vermeil_training import OptimizerConfig, RunConfig, ScheduleConfig, TrainingConfig
from vermeil_training.schedule import learning_rate_factor


def way(config: ScheduleConfig, steps: int = 100) -> list[float]:
    return [learning_rate_factor(config, step, steps) for step in range(steps)]


def test_wsd_warms_up_stays_and_decays_in_a_line() -> None:
    factors = way(ScheduleConfig("wsd", warmup_steps=10, decay_fraction=0.4))
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10:61] == [1.0] * 51
    assert factors[80] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(1 / 40)


def test_cosine_falls_to_its_final_fraction() -> None:
    factors = way(ScheduleConfig("cosine", warmup_steps=0, final_fraction=0.1))
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.55)
    assert factors[99] == pytest.approx(0.1, abs=0.001)


def test_constant_stays_after_a_warm_up_of_two_percent() -> None:
    assert way(ScheduleConfig("constant")) == [1 / 3, 2 / 3] + [1.0] * 98


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: OptimizerConfig(kind="sgd"), "optimizer.kind"),
        (lambda: OptimizerConfig(learning_rate=0), "optimizer.learning_rate"),
        (lambda: OptimizerConfig(beta2=1.0), "optimizer.beta2"),
        (lambda: OptimizerConfig(weight_decay=True), "optimizer.weight_decay"),
        (lambda: ScheduleConfig(decay_fraction=1.5), "schedule.decay_fraction"),
        (lambda: ScheduleConfig(kind="step"), "schedule.kind"),
        (lambda: RunConfig(steps=0), "run.steps"),
        (lambda: RunConfig(precision="fp16"), "run.precision"),
        (lambda: RunConfig(ema_decay=float("nan")), "run.ema_decay"),
        (
            lambda: TrainingConfig(schedule=ScheduleConfig(warmup_steps=20), run=RunConfig(steps=10)),
            "schedule.warmup_steps",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_name(make, field: str) -> None:
    with pytest.raises(InvalidInput, match=field.replace(".", r"\.")) as caught:
        make()
    assert caught.value.fix
