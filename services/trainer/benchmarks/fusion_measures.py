"""What a fused model can do, on data it has not learned from: numbers, and what it got item by item.

Describing (CIDEr-D), answering (accuracy), drawing (scenes read back from pictures, by GenEval's six
categories), keeping (bits per byte of text, loss of pictures that nobody asked for), and listening: what a
picture costs more after the caption of another one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fusion_data import CHAT, PICTURES, QUESTIONS, TEXTS, TRAIN, VALIDATION, Scale, StudyData
from torch import Tensor
from vermeil_data import PromptSpeller, Sample, TextTokenizer
from vermeil_data.shapes import CATEGORIES, Prompt, fulfils, judge, shape_prompts
from vermeil_media import decode_image
from vermeil_metrics import bits_per_byte, cider_d
from vermeil_model import (
    FusedModel,
    SamplingParameters,
    answer,
    draw,
    from_pixels,
    prompted_losses,
    text_logprobs,
    to_pixels,
)
from vermeil_trainer.grid import draw_rows

GUIDANCE = 2.0
_PROMPT_SEED = 7
_WINDOW = 128
_LONGEST_ANSWER = 40
_SHEET_COLUMNS = 6
Items = dict[str, list[float]]


@dataclass(frozen=True)
class Shown:
    """A picture that is asked about or described."""

    image_CHW: Tensor  # noqa: N815
    given: str
    """The question; empty where captions are wanted."""
    wanted: tuple[str, ...]
    """The answer, or all captions."""


class Measures:
    """The same questions for every model."""

    def __init__(self, data: StudyData, scale: Scale) -> None:
        self._data, self._scale = data, scale
        self.tokenizer = TextTokenizer.load(data.folder / f"samples-{TEXTS}")
        self._speller = PromptSpeller(self.tokenizer, CHAT)

    def all(self, model: FusedModel) -> tuple[dict[str, float], Items]:
        """Every number, and the items behind them."""
        items = {
            "nats": self._text(model),
            "cider": self._described(model),
            "answered": self._answered(model),
            "drawn": self._drawn(model),
            **self._pictures(model),
        }
        numbers = {
            "bits_per_byte": bits_per_byte(sum(items["nats"]), self._windows[1]),
            "cider_d": _mean(items["cider"]),
            "vqa": _mean(items["answered"]),
            "text_to_image": _mean(items["drawn"]),
            "image_loss": _mean(items["unasked"]),
            "listening": _mean(items["listening"]),
        }
        per_category = len(items["drawn"]) // len(CATEGORIES)
        for index, category in enumerate(CATEGORIES):
            of_category = items["drawn"][index * per_category : (index + 1) * per_category]
            numbers[f"text_to_image/{category}"] = _mean(of_category)
        return numbers, {name: [round(value, 5) for value in values] for name, values in items.items()}

    def kept(self, model: FusedModel) -> tuple[dict[str, float], Items]:
        """What the backbones themselves can do."""
        items = {
            "nats": self._text(model),
            "unasked": self._losses(model, [[] for _ in self._described_ones]),
        }
        numbers = {
            "bits_per_byte": bits_per_byte(sum(items["nats"]), self._windows[1]),
            "image_loss": _mean(items["unasked"]),
        }
        return numbers, items

    @cached_property
    def guessed(self) -> float:
        """Accuracy of who knows the questions and never looks: the likeliest answer of each."""
        likeliest: dict[str, Counter[str]] = {}
        overall: Counter[str] = Counter()
        for sample in self._data.raw(QUESTIONS).split(TRAIN):
            question, found = (segment.text or "" for segment in sample.segments[1:])
            likeliest.setdefault(question, Counter())[found] += 1
            overall[found] += 1
        hits = [
            likeliest.get(shown.given, overall).most_common(1)[0][0] == shown.wanted[0]
            for shown in self._asked_ones
        ]
        return _mean([float(hit) for hit in hits])

    def draw_sheet(self, model: FusedModel, path: Path) -> None:
        """A prompt of every category and what the model draws for it."""
        prompts = list(shape_prompts(_PROMPT_SEED, 2))
        repeated = [prompt for prompt in prompts for _ in range(_SHEET_COLUMNS)]
        draw_rows(self._images(model, repeated).numpy(), [prompt.text for prompt in prompts], path)

    def tell(self, model: FusedModel, count: int = 8) -> list[dict[str, str]]:
        """Some descriptions and answers beside the truth."""
        shown = self._described_ones[:count] + self._asked_ones[:count]
        told = self._say(model, shown)
        return [
            {"question": each.given, "said": text, "true": each.wanted[0]}
            for each, text in zip(shown, told, strict=True)
        ]

    @cached_property
    def _windows(self) -> tuple[Tensor, int]:
        """Validation text in rows of one length, each from <bos> on, and the bytes they hold."""
        ids: list[int] = []
        for sample in self._data.raw(TEXTS).split(VALIDATION):
            ids += self.tokenizer.encode(sample.segments[0].text or "")
        count = max(1, min(len(ids) // (_WINDOW - 1), self._scale.measured))
        rows = [ids[row * (_WINDOW - 1) : (row + 1) * (_WINDOW - 1)] for row in range(count)]
        num_bytes = sum(len(self.tokenizer.decode(row).encode()) for row in rows)
        return torch.tensor(
            [[self.tokenizer.bos_id, *row] for row in rows if len(row) == _WINDOW - 1]
        ), num_bytes

    @cached_property
    def _described_ones(self) -> list[Shown]:
        return self._shown(PICTURES)

    @cached_property
    def _asked_ones(self) -> list[Shown]:
        return self._shown(QUESTIONS)

    def _shown(self, name: str) -> list[Shown]:
        split = self._data.raw(name).split(VALIDATION)
        step = max(1, len(split) // self._scale.measured)
        return [_shown(split[number]) for number in range(0, len(split), step)][: self._scale.measured]

    def _text(self, model: FusedModel) -> list[float]:
        rows_BT = self._windows[0]
        return [float(-row.sum()) for part in rows_BT.split(32) for row in text_logprobs(model, part)]

    def _described(self, model: FusedModel) -> list[float]:
        shown = self._described_ones
        return [float(score) for score in cider_d(self._say(model, shown), [each.wanted for each in shown])]

    def _answered(self, model: FusedModel) -> list[float]:
        shown = self._asked_ones
        told = self._say(model, shown)
        return [float(text == each.wanted[0]) for text, each in zip(told, shown, strict=True)]

    def _say(self, model: FusedModel, shown: Sequence[Shown]) -> list[str]:
        prompts = [
            self._speller.prompt(
                "vqa" if each.given else "captioning", text=each.given, pictures=[each.image_CHW]
            )
            for each in shown
        ]
        greedy = SamplingParameters(
            temperature=0.0, max_tokens=_LONGEST_ANSWER, stop_ids=self.tokenizer.stop_ids
        )
        found = answer(model, prompts, [greedy] * len(prompts))
        return [self.tokenizer.decode(each.tokens).strip() for each in found]

    def _drawn(self, model: FusedModel) -> list[float]:
        prompts = list(shape_prompts(_PROMPT_SEED, self._scale.measured // len(CATEGORIES)))
        images = self._images(model, prompts).numpy()
        return [float(fulfils(judge(image), prompt)) for image, prompt in zip(images, prompts, strict=True)]

    def _images(self, model: FusedModel, prompts: Sequence[Prompt]) -> Tensor:
        spelled = [self._speller.prompt("text-to-image", text=prompt.text) for prompt in prompts]
        images_BCHW = draw(
            model,
            spelled,
            seeds=range(len(spelled)),
            steps=self._scale.drawing_steps,
            guidance=GUIDANCE,
        )
        return to_pixels(images_BCHW)

    def _pictures(self, model: FusedModel) -> Items:
        captions = [each.wanted[0] for each in self._described_ones]
        others = captions[1:] + captions[:1]
        right, wrong = (
            self._losses(model, [self._speller.prompt("text-to-image", text=text) for text in texts])
            for texts in (captions, others)
        )
        unasked = self._losses(model, [[] for _ in captions])
        return {"unasked": unasked, "listening": [w - r for w, r in zip(wrong, right, strict=True)]}

    def _losses(self, model: FusedModel, prompts: Sequence[Any]) -> list[float]:
        images_BCHW = torch.stack([each.image_CHW for each in self._described_ones])
        losses_B = prompted_losses(model, prompts, images_BCHW, seeds=range(len(prompts)))
        return [float(loss) for loss in losses_B]


def _shown(sample: Sample) -> Shown:
    picture = next(segment for segment in sample.segments if segment.modality == "image")
    texts = [segment.text or "" for segment in sample.segments if segment.modality == "text"]
    pixels_HWC = torch.from_numpy(decode_image(picture.data or b"", name=sample.id))
    image_CHW = from_pixels(pixels_HWC.permute(2, 0, 1))
    if picture.role == "given":
        return Shown(image_CHW, texts[0], (texts[1],))
    return Shown(image_CHW, "", tuple(texts))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
