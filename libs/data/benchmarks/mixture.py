"""Mixed samples per CPU second: packed by MixedLoader, or one by one by a torch DataLoader.

    python libs/data/benchmarks/mixture.py        # about a minute; needs vermeil-data[bench,loading]

Texts, captions, questions and prompts of coloured shapes, 64 × 64 in patches of 8, a quarter of the samples
each. The DataLoader reads the same arrays as most projects do: a Dataset that spells one sample in Python,
padded to the longest of its batch, all
captions of a picture in one; it packs nothing. Both take turns in one process, in one thread; figures
are medians over the rounds, per second of CPU time. The step is that of two nano towers fused (alloy),
forward and backward in float32, on the very rows.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from vermeil_data import (
    EncodedSamples,
    ImageEncoding,
    MixedBatch,
    MixedLoader,
    Mixture,
    OpenMixture,
    Sample,
    TokenizerSpec,
    encode_samples,
    open_dataset,
    train_tokenizer,
    write_dataset,
)
from vermeil_data.shapes import question_samples, shape_samples
from vermeil_data.split import TRAIN
from vermeil_data.testing import documents
from vermeil_model import ImageConfig, ImageModel, ModelConfig, TextModel, fuse, fused_config, fused_losses

RESULTS = Path(__file__).parent / "results"
SIDE, PATCH = 64, 8
FORMS = ((16, 64, 3), (16, 128, 7), (64, 256, 14))
"""(rows, text slots, picture slots)"""
NUM_SCENES = 300
ROUNDS = 7
SECONDS = 0.5
STEPS = 3
MIXTURE = Mixture.from_dict(
    {
        "sources": {name: name for name in ("texts", "captions", "questions")},
        "tasks": [
            {"kind": "language-modelling", "source": "texts", "window": 64, "weight": 1},
            {"kind": "captioning", "source": "captions", "weight": 1},
            {"kind": "vqa", "source": "questions", "weight": 1},
            {"kind": "text-to-image", "source": "captions", "weight": 1},
        ],
    }
)
Reader = Iterator[tuple[int, int]]
"""Yields how many samples and how many text tokens were read since the last time."""


def opened(folder: Path) -> OpenMixture:
    """The sources, encoded by one tokenizer."""
    samples = {
        "texts": [Sample.of_text(text) for text in documents(NUM_SCENES)],
        "captions": list(shape_samples(NUM_SCENES, side=SIDE)),
        "questions": list(question_samples(NUM_SCENES, side=SIDE)),
    }
    texts = [sample.text for each in samples.values() for sample in each]
    tokenizer = train_tokenizer(texts, TokenizerSpec("bpe", 512))
    sources: dict[str, EncodedSamples] = {}
    for name, found in samples.items():
        write_dataset(folder / name, {TRAIN: found}, name)
        form = ImageEncoding(SIDE, SIDE)
        sources[name] = encode_samples(
            open_dataset(folder / name), form, tokenizer, folder / f"{name}-encoded"
        )
    return OpenMixture(MIXTURE, sources)


class OneByOne(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples of all sources, each spelled when it is asked for."""

    def __init__(self, mixture: OpenMixture) -> None:
        self._samples = [source.samples(TRAIN) for source in mixture.sources.values()]
        self._tokenizer = mixture.tokenizer

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = self._samples[index % len(self._samples)]
        sample = index * 7919 % len(found.classes_N)
        ids, pictures = [self._tokenizer.bos_id], []
        for at in range(found.sample_offsets[sample], found.sample_offsets[sample + 1]):
            if found.pictures_K[at] >= 0:
                ids += [self._tokenizer.boi_id or 0, self._tokenizer.eoi_id or 0]
                pictures.append(found.pixels_PCHW[found.pictures_K[at]])
            else:
                ids += found.ids_T[found.text_offsets[at] : found.text_offsets[at + 1]].tolist()
        return torch.tensor(ids), torch.from_numpy(np.array(pictures or [np.zeros_like(self._empty)]))

    @property
    def _empty(self) -> np.ndarray[Any, Any]:
        return self._samples[-1].pixels_PCHW[0]


def one_by_one(mixture: OpenMixture, batch_size: int) -> Reader:
    def collate(items: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor, int]:
        ids, pictures = zip(*items, strict=True)
        return pad_sequence(ids, batch_first=True), torch.cat(pictures), sum(map(len, ids))

    for tokens_BT, _, num_tokens in DataLoader(OneByOne(mixture), batch_size, collate_fn=collate):
        yield len(tokens_BT), num_tokens


def packed(loader: MixedLoader) -> Reader:
    before = (0, 0)
    for _ in loader:
        tasks = loader.report().tasks.values()
        now = (sum(task.samples for task in tasks), sum(task.text_slots for task in tasks))
        yield now[0] - before[0], now[1] - before[1]
        before = now


def loader_of(mixture: OpenMixture, rows: int, text_slots: int, picture_slots: int) -> MixedLoader:
    return MixedLoader(
        mixture,
        TRAIN,
        rows=rows,
        text_slots=text_slots,
        picture_slots=picture_slots,
        patch_size=PATCH,
        seed=0,
    )


def measure(reader: Reader) -> tuple[float, float]:
    """Samples and tokens per second of CPU time."""
    samples = tokens = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS or not samples:
        more = next(reader)
        samples, tokens = samples + more[0], tokens + more[1]
    seconds = time.process_time() - cpu
    return samples / seconds, tokens / seconds


def step_of(mixture: OpenMixture, text_slots: int, picture_slots: int) -> Callable[[MixedBatch], None]:
    """Forward and backward of two nano towers."""
    context = text_slots + picture_slots * SIDE // PATCH
    text = TextModel(ModelConfig.from_size("nano", vocab_size=mixture.vocab_size, context_length=context))
    image = ImageModel(
        ImageConfig.from_size("nano", image_height=SIDE, image_width=SIDE, channels=3, patch_size=PATCH)
    )
    model = fuse(text, image, fused_config(text, image, "alloy"))
    generator = torch.Generator().manual_seed(0)

    def step(batch: MixedBatch) -> None:
        images = batch.pixels_BMCHW.float() / 127.5 - 1
        found = fused_losses(model, batch, images, generator, num_tasks=len(MIXTURE.tasks))
        found.total().backward()

    return step


def share_of_step(mixture: OpenMixture, rows: int, text_slots: int, picture_slots: int) -> dict[str, float]:
    """CPU seconds of a batch beside those of the step that learns from it."""
    loader, step = (
        loader_of(mixture, rows, text_slots, picture_slots),
        step_of(mixture, text_slots, picture_slots),
    )
    step(next(loader))
    reading, learning = [], []
    for _ in range(STEPS):
        began = time.process_time()
        batch = next(loader)
        read = time.process_time()
        step(batch)
        reading.append(read - began)
        learning.append(time.process_time() - read)
    batch_seconds, step_seconds = statistics.median(reading), statistics.median(learning)
    share = batch_seconds / (batch_seconds + step_seconds)
    return {"batch_cpu_seconds": batch_seconds, "step_cpu_seconds": step_seconds, "share": share}


def figures(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def run(folder: Path) -> list[dict[str, Any]]:
    mixture = opened(folder)
    rows = []
    for form in FORMS:
        loader = loader_of(mixture, *form)
        readers = {"vermeil": packed(loader), "torch DataLoader": one_by_one(mixture, 4 * form[0])}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
        for _ in range(ROUNDS):
            for name, reader in readers.items():
                taken[name].append(measure(reader))
        for name, pairs in taken.items():
            samples, tokens = (figures([pair[axis] for pair in pairs]) for axis in (0, 1))
            shape = dict(zip(("rows", "text_slots", "picture_slots"), form, strict=True))
            row = {
                "reader": name,
                **shape,
                "samples_per_cpu_second": samples,
                "tokens_per_cpu_second": tokens,
            }
            if name == "vermeil":
                report = loader.report()
                row |= {"fill": {"text": report.text, "pictures": report.pictures}}
            rows.append(row)
            print(f"{form} {name:18} {samples['median']:10,.0f} samples, {tokens['median']:12,.0f} tokens")
    rows[0]["step"] = share_of_step(mixture, *FORMS[0])
    print(f"{FORMS[0]}: {rows[0]['step']}, fill {rows[0]['fill']}")
    return rows


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("numpy", "torch")},
    }


def main() -> None:
    torch.set_num_threads(1)
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder))
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": about, "mixture": MIXTURE.to_dict(), "rows": rows}
    (RESULTS / "mixture.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
