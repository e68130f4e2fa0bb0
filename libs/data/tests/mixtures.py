"""Small sources of every sort, and a batch told as people would write it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vermeil_data import (
    EncodedSamples,
    MixedBatch,
    MixedLoader,
    Mixture,
    OpenMixture,
    Sample,
    Segment,
    TextTokenizer,
    TokenizerSpec,
    train_tokenizer,
)
from vermeil_data.testing import asked_samples, documents, encoded_samples, picture_samples

LM = {"kind": "language-modelling", "source": "texts", "window": 40}
CAPTIONING = {"kind": "captioning", "source": "captions"}
VQA = {"kind": "vqa", "source": "questions"}
PICTURES = {"kind": "image-modelling", "source": "questions"}
DRAWING = {"kind": "text-to-image", "source": "captions"}
TALK = {"kind": "interleaved", "source": "stories"}
EVERY_TASK = (LM, CAPTIONING, VQA, DRAWING, TALK)


def stories(count: int) -> list[Sample]:
    """Told in order: text, a picture, text to be learned, a picture to be drawn, text, another picture."""
    found = []
    for index, shown in enumerate(picture_samples(count)):
        file = shown.segments[-1].data
        segments = (
            Segment("text", "given", text="look"),
            Segment("image", "given", data=file),
            Segment("text", text=f"so {index}"),
            Segment("image", data=file),
            Segment("text", text="and"),
            Segment("image", data=file),
        )
        found.append(Sample(segments, f"story/{index}"))
    return found


def sources(folder: Path, tokenizer: TextTokenizer | None = None) -> dict[str, EncodedSamples]:
    """One of each sort, by one tokenizer."""
    tokenizer = tokenizer or train_tokenizer([], TokenizerSpec("byte"))
    samples = {
        "texts": [Sample.of_text(text, id=f"{index}") for index, text in enumerate(documents(30))],
        "captions": picture_samples(20),
        "questions": asked_samples(24),
        "stories": stories(6),
    }
    return {
        name: encoded_samples(folder / name, {"train": found}, tokenizer) for name, found in samples.items()
    }


def mixture(tasks: Sequence[dict[str, Any]] = EVERY_TASK, **settings: object) -> Mixture:
    """A mixture of some of those sources."""
    named = {task["source"]: task["source"] for task in tasks}
    return Mixture.from_dict({"sources": named, "tasks": list(tasks), **settings})


def loader(
    found: dict[str, EncodedSamples],
    tasks: Sequence[dict[str, Any]] = EVERY_TASK,
    settings: dict[str, object] | None = None,
    **form: Any,
) -> MixedLoader:
    """A loader of rows that everything fits in."""
    opened = OpenMixture(mixture(tasks, **(settings or {})), found)
    sizes = {"rows": 4, "text_slots": 96, "picture_slots": 4, "patch_size": 4, "seed": 0}
    return MixedLoader(opened, "train", **{**sizes, **form})


def told(batch: MixedBatch, tokenizer: TextTokenizer) -> list[tuple[int, str]]:
    """Task and text of every sample: ▢ is a picture that is given, ▨ one to be drawn.

    What is learned, as a target or a picture, is told a second time behind a bar.
    """
    found = []
    for row in range(len(batch.tokens_BT)):
        of_text, of_pictures = batch.text_sample_BT[row], batch.picture_sample_BM[row]
        for sample in range(int(of_text.max()) + 1):
            parts = []
            learned: list[int] = []
            slots = (of_text == sample).nonzero().flatten().tolist()
            for slot in slots:
                shown = tokenizer.decode([int(batch.tokens_BT[row, slot])], skip_special=False)
                parts.append((int(batch.text_order_BT[row, slot]), -1, shown))
                if (target := int(batch.targets_BT[row, slot])) >= 0:
                    learned.append(target)
            for slot in (of_pictures == sample).nonzero().flatten().tolist():
                mark = "▨" if batch.picture_noisy_BM[row, slot] else "▢"
                parts.append((int(batch.picture_order_BM[row, slot]), slot, mark))
            text = "".join(part for _, _, part in sorted(parts))
            targets = tokenizer.decode(learned, skip_special=False)
            found.append((int(batch.text_task_BT[row, slots[0]]), f"{text}|{targets}"))
    return found
