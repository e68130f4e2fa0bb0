import math

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import Conditions, ImageModel, SamplingStep, sample_images
from vermeil_model.flow import velocity
from vermeil_model.image_sampling import GUIDANCE_FROM, Solver, draw_noise, guided, integrate
from vermeil_model.testing import BY_CLASS, BY_TEXT, small_conditions, small_image_model

VARIANTS = (BY_CLASS, BY_TEXT, BY_CLASS | {"adaln": True})


def close(ours: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=0)


def calm_model(**changes: object) -> ImageModel:
    """A small model whose prediction hardly amplifies rounding from step to step."""
    model = small_image_model(**changes)
    with torch.no_grad():
        model.head.weight.mul_(0.2)
    return model


@torch.no_grad()
def naive(
    model: ImageModel, asked: Conditions, seeds: list[int], steps: int, guidance: float, solver: Solver
) -> torch.Tensor:
    """Every step reads the conditions again; with and without them in two passes; float64 between steps."""

    def slope(x: torch.Tensor, time: float) -> torch.Tensor:
        times = torch.full((len(x),), time)
        with_condition = model(x.float(), times, asked).double()
        if guidance not in (0, 1) and time < GUIDANCE_FROM:
            return velocity(with_condition, x, time)
        without = model(x.float(), times).double()
        return velocity(without + guidance * (with_condition - without), x, time)

    x = draw_noise(model.config, seeds).double()
    for step in range(steps):
        start, end = step / steps, (step + 1) / steps
        first = slope(x, start)
        moved = x + first * (end - start)
        if solver == "heun" and step < steps - 1:
            moved = x + (first + slope(moved, end)) * (end - start) / 2
        x = moved
    return x.float()


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_cached_context_and_batched_guidance_give_the_naive_pictures(
    changes: dict[str, object], guidance: float, solver: Solver
) -> None:
    model = calm_model(**changes)
    asked, seeds = small_conditions(3, model.config), [4, 5, 6]
    ours = sample_images(model, asked, seeds=seeds, steps=6, guidance=guidance, solver=solver)
    close(ours, naive(model, asked, seeds, 6, guidance, solver), 3e-5)


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_picture_of_a_seed_does_not_depend_on_its_batch(
    changes: dict[str, object], guidance: float
) -> None:
    model = calm_model(**changes)
    asked, seeds = small_conditions(4, model.config), [11, 12, 13, 12]
    together = sample_images(model, asked, seeds=seeds, steps=4, guidance=guidance)
    for row, seed in enumerate(seeds):
        alone = Conditions(*(None if part is None else part[row : row + 1] for part in asked))
        close(sample_images(model, alone, seeds=[seed], steps=4, guidance=guidance), together[row : row + 1])


def test_guidance_works_from_its_time_on_and_costs_nothing_before() -> None:
    model = calm_model(**BY_CLASS)
    asked, seen = Conditions.of_classes([2]), []
    plain = sample_images(model, asked, seeds=[1], steps=4)
    options = {"seeds": [1], "steps": 4, "guidance": 3.0}
    close(sample_images(model, asked, **options, guidance_from=1.0), plain)
    assert (sample_images(model, asked, **options, guidance_from=0.75) - plain).abs().max() > 1e-2
    model.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    predict = guided(model, asked, 3.0, start=0.5)
    with torch.no_grad():
        integrate(predict, draw_noise(model.config, [1]), steps=4, solver="euler")
    assert seen == [1, 1, 2, 2]


def test_pictures_without_a_condition_may_stand_beside_others() -> None:
    model = calm_model(**BY_CLASS)
    mixed = sample_images(model, Conditions.of_classes([2, None]), seeds=[1, 2], steps=3, guidance=3.0)
    close(mixed[1:], sample_images(model, seeds=[2], steps=3))
    close(mixed[:1], sample_images(model, Conditions.of_classes([2]), seeds=[1], steps=3, guidance=3.0))


def flow_of_a_normal(deviation: float):
    """The exact prediction for pictures drawn from N(0, deviation²): E[x | z]."""

    def predict(noisy: torch.Tensor, time: float) -> torch.Tensor:
        return noisy * time * deviation**2 / (time**2 * deviation**2 + (1 - time) ** 2)

    return predict


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_a_solver_converges_to_the_known_flow_with_its_order(solver: Solver, order: int) -> None:
    noise = torch.tensor([[[[1.0, -2.0]]]], dtype=torch.float64)
    predict, exact = flow_of_a_normal(0.5), noise * math.sqrt(0.5**2 * 0.5**2 + 0.5**2)

    def error(steps: int) -> float:
        """Half way, as seen by the last look at that time."""
        half_way: list[torch.Tensor] = []

        def watched(noisy: torch.Tensor, time: float) -> torch.Tensor:
            if time == 0.5:
                half_way.append(noisy)
            return predict(noisy, time)

        integrate(watched, noise, steps=steps, solver=solver)
        return float((half_way[-1] - exact).abs().max())

    assert error(32) / error(64) == pytest.approx(2**order, rel=0.15)


def test_a_known_flow_ends_at_its_pictures() -> None:
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for solver in ("euler", "heun"):
        pictures = integrate(flow_of_a_normal(0.5), noise, steps=200, solver=solver)
        torch.testing.assert_close(pictures, noise * 0.5, rtol=0.02, atol=0.01)


def test_a_constant_prediction_is_reached_by_any_solver_in_any_number_of_steps() -> None:
    target = torch.full((1, 1, 2, 2), 0.3)
    for solver in ("euler", "heun"):
        for steps in (1, 2, 7):
            close(integrate(lambda z, t: target, torch.ones(1, 1, 2, 2), steps=steps, solver=solver), target)


def test_progress_is_told_after_every_step_and_may_end_the_sampling() -> None:
    model = calm_model(**BY_CLASS)
    told: list[SamplingStep] = []
    images = sample_images(model, seeds=[1, 2], steps=3, on_step=told.append)
    assert [(step.number, step.num_steps) for step in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[0].predicted_BCHW.shape == images.shape
    close(told[-1].predicted_BCHW, images)

    def refuse(step: SamplingStep) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_images(model, seeds=[1], steps=3, on_step=refuse)


def test_no_seed_gives_no_picture() -> None:
    assert sample_images(small_image_model(), seeds=[]).shape == (0, 3, 12, 8)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("steps", {"steps": 0}),
        ("steps", {"steps": 2.5}),
        ("guidance", {"guidance": math.nan}),
        ("guidance", {"guidance": -1.0}),
        ("solver", {"solver": "rk4"}),
        ("seeds", {"seeds": [-1, 0]}),
        ("conditions", {"conditions": Conditions.of_classes([1])}),
        ("conditions", {"conditions": Conditions.of_captions([[1], [2]])}),
        ("classes", {"conditions": Conditions.of_classes([1, 5])}),
        ("guidance", {"conditions": None, "guidance": 2.0}),
    ],
)
def test_an_impossible_request_is_refused_by_name(field: str, wrong: dict[str, object]) -> None:
    given = {"conditions": Conditions.of_classes([0, 1]), "seeds": [1, 2], "steps": 2} | wrong
    with pytest.raises(InvalidInput) as caught:
        sample_images(small_image_model(**BY_CLASS), **given)
    assert caught.value.field == field
    assert caught.value.fix
