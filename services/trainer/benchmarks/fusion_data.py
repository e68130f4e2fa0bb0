"""What the study of fusions is made of: its size, its data, its recipes.

Texts are the files of a folder, pictures are drawn scenes of coloured shapes: captions for describing and
drawing, questions with answers. Scenes that are asked about are others than those with captions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vermeil_data import (
    Dataset,
    ImageEncoding,
    OpenMixture,
    Sample,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    encode_images,
    encode_samples,
    fit_tokenizer,
    open_dataset,
    open_encoded,
    open_encoded_images,
    open_encoded_samples,
    write_dataset,
)
from vermeil_data.card import CARD_FILE
from vermeil_data.shapes import question_samples, shape_samples
from vermeil_model import FUSIONS
from vermeil_trainer.fusing import mixture_of
from vermeil_trainer.model_folder import Data
from vermeil_trainer.reading import recipe_from_dict
from vermeil_trainer.recipe import Recipe

TEXTS, PICTURES, QUESTIONS = "texts", "pictures", "questions"
SIDE, PATCH = 32, 4
CHAT = {"captioning": "chat", "vqa": "chat", "text-to-image": "chat"}
TRAIN, VALIDATION = "train", "validation"
_HELD_OUT = 20
"""One file or scene in so many is kept for validation."""
_PIECE = 4_000
"""Characters."""
_QUESTION_SEED = 1


@dataclass(frozen=True)
class Scale:
    """How large a study is."""

    depth: int
    width: int
    num_heads: int
    vocab_size: int
    text_bytes: int
    num_scenes: int
    """With captions, and again as many with questions."""
    text_steps: int
    """Of the text backbone, 16 windows of 128 tokens each."""
    image_steps: int
    """Of the image backbone, 48 pictures each."""
    fusion_steps: int
    """After the backbones, 8 rows of 128 tokens and 5 pictures each."""
    sweep_steps: int
    """Of the short runs that choose a learning rate."""
    rates: tuple[float, ...]
    """Tried for every fusion, over those of the recipe."""
    seeds: int
    measured: int
    """Pictures described, questions asked, and pictures drawn of each of six categories × 6."""
    drawing_steps: int


SCALES = {
    "short": Scale(1, 64, 1, 300, 60_000, 60, 2, 2, 2, 1, (1.0,), 1, 12, 2),
    "laptop": Scale(
        4, 128, 2, 2048, 8_000_000, 12_000, 1500, 1500, 1500, 300, (0.125, 0.25, 0.5, 1.0), 3, 360, 20
    ),
    "gpu": Scale(
        12,
        768,
        12,
        8192,
        8_000_000,
        100_000,
        10_000,
        10_000,
        10_000,
        1000,
        (0.25, 0.5, 1.0, 2.0),
        5,
        1800,
        50,
    ),
}


class StudyData:
    """Raw and encoded data in one folder, made unless they are there."""

    def __init__(self, folder: Path, scale: Scale, texts: Path) -> None:
        self.folder, self._scale = folder, scale
        scenes = scale.num_scenes
        self._raw(TEXTS, _documents(texts, scale.text_bytes))
        self._raw(PICTURES, shape_samples(scenes, side=SIDE))
        self._raw(QUESTIONS, question_samples(scenes, _QUESTION_SEED, SIDE))
        tokenizer_spec = TokenizerSpec("bpe", scale.vocab_size)
        if not self._has("text"):
            raw = self.raw(TEXTS)
            encode_dataset(raw, fit_tokenizer(raw, tokenizer_spec), folder / "text")
        encoding = ImageEncoding(SIDE, SIDE, 3)
        if not self._has("images"):
            encode_images(self.raw(PICTURES), encoding, folder / "images")
        tokenizer = TextTokenizer.load(folder / "text")
        for name in (TEXTS, PICTURES, QUESTIONS):
            if not self._has(f"samples-{name}"):
                encode_samples(self.raw(name), encoding, tokenizer, folder / f"samples-{name}")

    def raw(self, name: str) -> Dataset:
        """Samples as they were made."""
        return open_dataset(self.folder / f"raw-{name}")

    def encoded(self, recipe: Recipe) -> Data:
        """What a recipe of the study learns from."""
        if recipe.task == "text":
            return open_encoded(self.folder / "text")
        if recipe.task == "image":
            return open_encoded_images(self.folder / "images")
        sources = {
            name: open_encoded_samples(self.folder / f"samples-{name}")
            for name in (TEXTS, PICTURES, QUESTIONS)
        }
        return OpenMixture(mixture_of(recipe), sources)

    def _has(self, name: str) -> bool:
        return (self.folder / name / CARD_FILE).is_file()  # written last

    def _raw(self, name: str, samples: Iterator[Sample]) -> None:
        if self._has(f"raw-{name}"):
            return
        splits: dict[str, list[Sample]] = {TRAIN: [], VALIDATION: []}
        numbers: dict[str, int] = {}
        for sample in samples:
            # All questions about a scene stay on one side.
            whole = sample.id if name == TEXTS else sample.id.partition("#")[0]
            number = numbers.setdefault(whole, len(numbers))
            splits[TRAIN if number % _HELD_OUT else VALIDATION].append(sample)
        if not all(splits.values()):
            raise SystemExit(f"{name} are too few to learn from and to test on: {len(splits[TRAIN])} in all")
        write_dataset(self.folder / f"raw-{name}", splits, name)


def _documents(folder: Path, most_bytes: int) -> Iterator[Sample]:
    """Texts of a folder by their names, as many as fit, in pieces of which some can be kept apart."""
    left = most_bytes
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".txt", ".rst", ".md") or left <= 0:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")[:left]
        left -= len(text)
        name = path.relative_to(folder).as_posix()
        for start in range(0, len(text), _PIECE):
            yield Sample.of_text(text[start : start + _PIECE], id=f"{name}#{start}")


def text_recipe(scale: Scale, seed: int) -> Recipe:
    """The text backbone."""
    return _recipe(
        "words",
        "text",
        scale,
        seed,
        scale.text_steps,
        batch_size=16,
        model=_sizes(scale) | {"context_length": 128},
        data={"tokenizer": {"kind": "bpe", "vocab_size": scale.vocab_size}},
    )


def image_recipe(scale: Scale, seed: int) -> Recipe:
    """The image backbone; it draws what comes to its mind."""
    image = {"image_height": SIDE, "image_width": SIDE, "patch_size": PATCH, "condition": "none"}
    return _recipe(
        "scenes", "image", scale, seed, scale.image_steps, batch_size=48, model=_sizes(scale), image=image
    )


def fusion_recipe(scale: Scale, fusion: str, seed: int, rate: float, steps: int) -> Recipe:
    """Both as one, at a learning rate over the usual one."""
    tasks = [
        {"kind": "language-modelling", "source": TEXTS, "weight": 1, "window": 64},
        {"kind": "captioning", "source": PICTURES, "weight": 1, "style": CHAT["captioning"]},
        {"kind": "vqa", "source": QUESTIONS, "weight": 2, "style": CHAT["vqa"]},
        {"kind": "text-to-image", "source": PICTURES, "weight": 2, "style": CHAT["text-to-image"]},
    ]
    return _recipe(
        "both",
        "fusion",
        scale,
        seed,
        steps,
        batch_size=8,
        optimizer={"learning_rate": 0.003 * rate, "matrix_learning_rate": 0.01 * rate},
        fusion={"kind": fusion, "text": "words", "image": "scenes"},
        mixture={
            "sources": [{"name": name, "dataset": name} for name in (TEXTS, PICTURES, QUESTIONS)],
            "tasks": tasks,
            "text_slots": 128,
            "picture_slots": 5,
        },
    )


def fusions() -> list[str]:
    """All there are."""
    return list(FUSIONS)


def _sizes(scale: Scale) -> dict[str, int]:
    return {"depth": scale.depth, "width": scale.width, "num_heads": scale.num_heads}


def _recipe(
    name: str, task: str, scale: Scale, seed: int, steps: int, batch_size: int, **sections: Any
) -> Recipe:
    return recipe_from_dict(
        {
            "name": name,
            "task": task,
            "run": {
                "steps": steps,
                "batch_size": batch_size,
                "seed": seed,
                "ema_decay": min(0.998, 1 - 5 / max(steps, 10)),
                "evaluate_every": max(1, steps // 10),
                "evaluate_batches": 10 if scale.measured > 12 else 1,
                "checkpoint_every": max(1, steps // 4),
            },
            **sections,
        }
    )
