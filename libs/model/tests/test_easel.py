"""Pictures on one easel come out as by themselves, however different; threads take turns."""

import dataclasses
import threading

import pytest
import torch
from vermeil_model import FUSIONS, DrawingParameters, Easel, sample_in_context
from vermeil_model.context import Context
from vermeil_model.easel import Drawing, Turns
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_sampling import draw_noise, guided_by, integrate
from vermeil_model.testing import small_fused, small_images

CPU = torch.device("cpu")
KINDS = [
    DrawingParameters(steps=4),
    DrawingParameters(steps=3, solver="heun", guidance=3.0),
    DrawingParameters(steps=5, guidance=1.0),
    DrawingParameters(steps=2, guidance_from=0.0),
    DrawingParameters(steps=3, guidance=0.0),
]
PROMPTS = [[1, 20, 7], [1], [1, 5, 9, 30, 2, 58], [1, 40], [1, 3]]


@torch.no_grad()
def context_of(model: FusedModel, prompt: list[int], *, shown: bool) -> Context:
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([prompt]))
    if shown:
        model.read_picture(memory, small_images(1))
        model.read_text(memory, torch.tensor([[8, 58]]))
    return model.context(memory)


def steps_of(drawing: Drawing) -> list[int]:
    return [step.number for step in drawing.steps]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_pictures_of_all_kinds_come_out_as_by_themselves(fusion: str) -> None:
    model = small_fused(fusion)
    painter, easel = model.painter(), Easel(model.painter(), CPU)
    drawings = []
    for seed, (kind, prompt) in enumerate(zip(KINDS, PROMPTS, strict=True)):
        drawings.append(easel.add(context_of(model, prompt, shown=seed % 2 == 0), seed, kind))
        easel.move()  # they begin one after the other
    drawings.append(easel.add(None, 9, KINDS[0]))
    while not all(drawing.is_done for drawing in drawings):
        easel.move()
    for seed, (kind, prompt) in enumerate(zip(KINDS, PROMPTS, strict=True)):
        assert steps_of(drawings[seed]) == list(range(1, kind.steps + 1))
        context = context_of(model, prompt, shown=seed % 2 == 0)
        alone = sample_in_context(painter, context, seeds=[seed], **dataclasses.asdict(kind))
        torch.testing.assert_close(drawings[seed].steps[-1].predicted_BCHW, alone)
    noise = draw_noise(painter.config, [9])
    free = integrate(guided_by(painter, None, 1.0), noise, steps=4, solver="euler")
    torch.testing.assert_close(drawings[-1].steps[-1].predicted_BCHW, free)


def test_no_move_looks_at_more_than_it_may_and_all_come_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermeil_model.easel.PATCHES_AT_ONCE", 2 * 2 * 6)
    easel = Easel(small_fused().painter(), CPU)
    drawings = [easel.add(None, seed, KINDS[0]) for seed in range(5)]
    for expected in ([1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [2, 2, 1, 1, 1]):
        easel.move()
        assert [len(drawing.steps) for drawing in drawings] == expected


def test_who_is_removed_is_not_looked_at_any_more() -> None:
    easel = Easel(small_fused().painter(), CPU)
    leaving, staying = easel.add(None, 1, KINDS[0]), easel.add(None, 2, KINDS[0])
    easel.move()
    easel.remove(leaving)
    easel.remove(leaving)
    easel.move()
    assert (steps_of(leaving), steps_of(staying)) == ([1], [1, 2])


def test_a_look_that_fails_ends_its_pictures_and_no_later_ones() -> None:
    class Torn:
        config = small_fused().image.config

        def __call__(self, *_: object, **__: object) -> torch.Tensor:
            raise OSError("torn")

    easel = Easel(Torn(), CPU)
    broken = easel.add(None, 1, KINDS[0])
    easel.move()
    assert isinstance(broken.error, OSError)
    easel._painter = small_fused().painter()
    later = easel.add(None, 1, KINDS[0])
    easel.move()
    assert (steps_of(broken), steps_of(later)) == ([], [1])


def test_threads_get_their_turns_in_the_order_they_come() -> None:
    turns, order, waiting = Turns(), [], threading.Semaphore(0)

    def come(number: int) -> None:
        waiting.release()
        with turns.turn():
            order.append(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    with turns.turn():
        for number, thread in enumerate(threads):
            thread.start()
            waiting.acquire()
            while turns._num_come < number + 2:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
