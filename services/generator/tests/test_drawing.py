"""What a painter may rely on, of the real network and of the fake beside it."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from vermeil_generator.fakes import FakeDrawing, tiny_image_model
from vermeil_generator.image_order import Style, Wish
from vermeil_generator.sampler import Drawing, NobodyWaitsError, Sampler, Step
from vermeil_media import Pixels
from vermeil_model import Conditions, sample_images, to_pixels

STYLE = Style(steps=6, guidance=2.0, solver="euler")
WISHES = [Wish(0, 11), Wish(1, 22), Wish(2, 33)]


@pytest.fixture(params=["real", "fake"])
def drawing(request: pytest.FixtureRequest) -> Drawing:
    return Sampler.of_images(tiny_image_model()) if request.param == "real" else FakeDrawing()


def draw(
    drawing: Drawing,
    wishes: Sequence[Wish],
    style: Style = STYLE,
    is_wanted: Callable[[int], bool] = lambda _: True,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Sequence[Pixels]:
    return drawing.draw(wishes, style, is_wanted=is_wanted, on_step=on_step)


def close(one: Pixels, two: Pixels) -> bool:
    """Up to rounding: sums run in another order in another batch."""
    return int(np.abs(one.astype(int) - two).max()) <= 1


def test_a_picture_is_the_same_in_any_company(drawing: Drawing) -> None:
    together = draw(drawing, WISHES)
    for wish, picture in zip(WISHES, together, strict=True):
        assert picture.dtype == np.uint8
        assert picture.shape == (8, 8, 3)
        assert close(draw(drawing, [wish])[0], picture)
    assert not close(together[0], together[1])


def test_every_step_is_told_with_how_the_pictures_look(drawing: Drawing) -> None:
    told: list[int] = []
    looks: list[Pixels] = []

    def see(step: Step) -> None:
        told.append(step.number)
        looks.append(step.look(1))

    pictures = draw(drawing, WISHES, on_step=see)
    assert told == [1, 2, 3, 4, 5, 6]
    assert close(looks[-1], pictures[1])


def test_who_leaves_does_not_change_the_pictures_of_the_others(drawing: Drawing) -> None:
    alone = draw(drawing, WISHES)
    gone: set[int] = set()
    left = draw(drawing, WISHES, is_wanted=lambda place: place not in gone, on_step=lambda step: gone.add(1))
    assert close(left[0], alone[0])
    assert close(left[2], alone[2])


def test_when_nobody_waits_it_stops_before_the_next_step(drawing: Drawing) -> None:
    told: list[int] = []
    with pytest.raises(NobodyWaitsError):
        draw(
            drawing,
            WISHES,
            is_wanted=lambda _: len(told) < 2,
            on_step=lambda step: told.append(step.number),
        )
    assert told == [1, 2]


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_it_draws_what_the_library_draws(solver: str, guidance: float) -> None:
    model = tiny_image_model()
    style = Style(5, guidance, solver)
    drawn = sample_images(
        model,
        Conditions.of_classes([0, 1, 2]),
        seeds=[11, 22, 33],
        steps=5,
        guidance=guidance,
        solver=solver,  # type: ignore[arg-type]
    )
    for ours, theirs in zip(
        draw(Sampler.of_images(model), WISHES, style), to_pixels(drawn).numpy(), strict=True
    ):
        assert close(ours, theirs)


def test_pictures_with_and_without_a_class_are_drawn_together() -> None:
    sampler, style = Sampler.of_images(tiny_image_model()), Style(4, 1.0, "euler")
    free, asked = Wish(None, 5), Wish(1, 5)
    together = draw(sampler, [free, asked], style)
    assert close(together[0], draw(sampler, [free], style)[0])
    assert close(together[1], draw(sampler, [asked], style)[0])
    assert not close(together[0], together[1])


def test_captions_of_several_lengths_are_drawn_together() -> None:
    sampler = Sampler.of_images(tiny_image_model("text"))
    short, long = Wish((5, 6), 3), Wish((5, 6, 7, 8, 9), 3)
    together = draw(sampler, [short, long])
    assert close(together[0], draw(sampler, [short])[0])
    assert close(together[1], draw(sampler, [long])[0])
    assert not close(together[0], together[1])
