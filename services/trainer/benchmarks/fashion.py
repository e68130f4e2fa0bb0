"""Pictures of clothes by class, after the same processor time: Vermeil beside diffusers' DiT and UNet.

    VERMEIL_DATA_DIR=… python services/trainer/benchmarks/fashion.py --cpu-seconds 2400

Vermeil trains the shipped recipe fashion-image, its steps set so that they take the budget; the peers
train until it is used up. Two contestants run side by side, each on its own threads. A classifier trained
here (recipe judge-fashion, on the training pictures alone) judges: class accuracy of samples, and Fréchet
distance (FID's formula) and precision and recall in its features against the test pictures. Its features
are not Inception's, so neither are the numbers. Real training pictures against the test pictures are
printed as the floor.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fashion_peers import Peer, dit, sample_peer, train_peer, unet
from torch import Tensor, nn
from vermeil_data import (
    EncodedImages,
    ImageEncoding,
    ImageLoader,
    Sample,
    encode_images,
    open_dataset,
    open_encoded_images,
)
from vermeil_data import write_dataset as write_samples
from vermeil_media.idx import read_idx
from vermeil_media.image import encode_png
from vermeil_metrics import frechet_distance, in_manifold
from vermeil_model import (
    Conditions,
    ImageClassifier,
    ImageModel,
    from_pixels,
    load_checkpoint,
    sample_images,
    to_pixels,
)
from vermeil_trainer.grid import draw_rows
from vermeil_trainer.reading import read_recipe, recipe_from_dict
from vermeil_trainer.train import train
from vermeil_training import read_metrics

RESULTS = Path(__file__).with_name("results")
RECIPES = Path(__file__).parents[1] / "vermeil_trainer" / "recipes"
GUIDANCE = (1.0, 1.5, 2.5)
STEPS = 30
PROBE_STEPS = 60
"""More than the recipe warms up for."""
MOST_IN_MANIFOLD = 2000
PEERS = {"diffusers DiT": dit, "diffusers UNet": unet}


def encode(folder: Path) -> EncodedImages:
    """Fashion-MNIST as it lies in VERMEIL_DATA_DIR; its test set is our validation split."""
    source = Path(os.environ["VERMEIL_DATA_DIR"]) / "fashion-mnist"
    names = (source / "classes.txt").read_text().split("\n")
    splits = {}
    for split, prefix in (("train", "train"), ("validation", "t10k")):
        images, labels = (
            read_idx(next(source.glob(f"{prefix}*-{kind}*")).read_bytes()) for kind in ("images", "labels")
        )
        splits[split] = [
            Sample.of_image(
                encode_png(np.asarray(pixels)[..., None]),
                "image/png",
                id=f"{split}-{number}",
                metadata={"class": names[int(label)], "class_number": str(int(label))},
            )
            for number, (pixels, label) in enumerate(zip(images, labels, strict=True))
        ]
    write_samples(folder / "raw", splits, "fashion-mnist")
    return encode_images(open_dataset(folder / "raw"), ImageEncoding(28, 28, 1), folder / "encoded")


def trained(name: str, encoded: EncodedImages, folder: Path, steps: int | None = None) -> Path:
    """One shipped recipe from first to last; the model's folder."""
    recipe = recipe_from_dict(read_recipe(RECIPES / f"{name}.yaml"))
    if steps is not None:
        run = replace(recipe.run, steps=steps, evaluate_every=steps, checkpoint_every=steps)
        recipe = replace(recipe, run=run)
    return train(recipe, encoded, folder).model


def cpu_seconds(folder: Path) -> float:
    """Processor time that a run spent in its steps."""
    return max(line["cpu_seconds"] for line in read_metrics(folder) if "cpu_seconds" in line)


def steps_within(budget: float, encoded: EncodedImages, folder: Path) -> int:
    """How many steps of fashion-image take the budget, from a short run."""
    trained("fashion-image", encoded, folder, PROBE_STEPS)
    lines = [line for line in read_metrics(folder) if "cpu_seconds" in line]
    first, last = lines[0], lines[-1]
    each = (last["cpu_seconds"] - first["cpu_seconds"]) / (last["step"] - first["step"])
    return int(budget / each)


class Judge:
    """The frozen classifier and what it thinks of the test pictures."""

    def __init__(self, model: ImageClassifier, encoded: EncodedImages) -> None:
        self._model = model.eval()
        test, classes = torch.tensor(encoded.pixels("validation")), encoded.classes("validation")
        self._features, logits = self._read(from_pixels(test))
        self.accuracy = float((logits.argmax(1).numpy() == classes).mean())

    def __call__(self, images_BCHW: Tensor, classes_B: Tensor) -> dict[str, float]:
        features, logits = self._read(images_BCHW)
        some = self._features[:MOST_IN_MANIFOLD]
        return {
            "class accuracy": float((logits.argmax(1) == classes_B).float().mean()),
            "Fréchet distance": frechet_distance(features, self._features),
            "precision": float(in_manifold(features, some).mean()),
            "recall": float(in_manifold(some, features).mean()),
        }

    @torch.inference_mode()
    def _read(self, images_BCHW: Tensor) -> tuple[np.ndarray[Any, Any], Tensor]:
        features = torch.cat([self._model.features(part) for part in images_BCHW.split(256)])
        return features.float().numpy(), self._model.logits_of(features)


Draw = Callable[[Tensor, float], Tensor]


def measured(draw: Draw, classes: Tensor, judge: Judge, grid: Path, names: list[str]) -> dict[str, Any]:
    """Samples at every guidance, judged; the best by distance drawn as a grid."""
    rows, best = {}, None
    for guidance in GUIDANCE:
        began = time.process_time()
        images = draw(classes, guidance)
        rows[str(guidance)] = judge(images, classes) | {"CPU seconds": time.process_time() - began}
        if best is None or rows[str(guidance)]["Fréchet distance"] < best[0]:
            best = (rows[str(guidance)]["Fréchet distance"], guidance, images)
    assert best is not None
    order = classes.argsort(stable=True)
    per_class = len(classes) // len(names)
    first = torch.cat([order[number * per_class :][: min(10, per_class)] for number in range(len(names))])
    draw_rows(to_pixels(best[2][first]).numpy(), names, grid)
    return {"best guidance": best[1], "by guidance": rows, **rows[str(best[1])]}


def our_draw(encoded: EncodedImages, folder: Path, budget: float) -> tuple[Draw, dict[str, Any]]:
    """The shipped recipe, trained for the budget."""
    steps = steps_within(budget, encoded, folder / "probe")
    model = load_checkpoint(trained("fashion-image", encoded, folder / "ours", steps), ImageModel)

    def draw(classes: Tensor, guidance: float) -> Tensor:
        asked = Conditions.of_classes(classes.tolist())
        return sample_images(model, asked, steps=STEPS, guidance=guidance, seeds=range(len(classes)))

    return draw, made(model, steps, cpu_seconds(folder / "ours"))


def peer_draw(make: Callable[[], Peer], encoded: EncodedImages, budget: float) -> tuple[Draw, dict[str, Any]]:
    """A network of diffusers, trained for the budget."""
    peer, steps = train_peer(make(), ImageLoader(encoded, "train", 64, 0, condition="class"), budget)

    def draw(classes: Tensor, guidance: float) -> Tensor:
        return sample_peer(peer, classes, steps=STEPS, guidance=guidance)

    return draw, made(peer.model, steps, budget)


def made(model: nn.Module, steps: int, used: float) -> dict[str, Any]:
    """How a contestant came to be."""
    size = sum(weight.numel() for weight in model.parameters())
    return {"parameters": size, "steps": steps, "training CPU seconds": used}


def contest(name: str, folder: Path, judge_folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One contestant trained and judged."""
    torch.set_num_threads(arguments.threads)
    encoded = open_encoded_images(folder / "encoded")
    judge = Judge(load_checkpoint(judge_folder, ImageClassifier), encoded)
    if name in PEERS:
        draw, how = peer_draw(PEERS[name], encoded, arguments.cpu_seconds)
    else:
        draw, how = our_draw(encoded, folder, arguments.cpu_seconds)
    print(name, json.dumps(how), flush=True)
    names = list(encoded.class_names)
    classes = torch.arange(arguments.samples) % len(names)
    grid = RESULTS / f"fashion-{name.rsplit(maxsplit=1)[-1].lower()}.png"
    found = how | measured(draw, classes, judge, grid, names)
    print(name, json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cpu-seconds", type=float, default=2400, help="for each; 20 minutes of two cores")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="of each contestant")
    parser.add_argument("--at-once", type=int, default=2, help="contestants side by side")
    parser.add_argument("--judge", type=Path, help="folder of a judge trained before")
    arguments = parser.parse_args()
    if not os.environ.get("VERMEIL_DATA_DIR"):
        sys.exit("VERMEIL_DATA_DIR does not name a folder of real data")
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoded = encode(folder)
        judge_folder = arguments.judge or trained("judge-fashion", encoded, folder / "judge")
        judge = Judge(load_checkpoint(judge_folder, ImageClassifier), encoded)
        print(f"judge: {judge.accuracy:.4f} of the test pictures told right", flush=True)
        real = torch.randperm(encoded.num_images("train"), generator=torch.Generator().manual_seed(0))
        chosen = real[: arguments.samples].numpy()
        floor = judge(
            from_pixels(torch.tensor(encoded.pixels("train")[chosen])),
            torch.tensor(encoded.classes("train")[chosen]),
        )
        with ProcessPoolExecutor(arguments.at_once, get_context("spawn")) as pool:
            running = {
                name: pool.submit(contest, name, folder, judge_folder, arguments)
                for name in ("Vermeil", *PEERS)
            }
            rows = {name: future.result() for name, future in running.items()}
    table = {"real training pictures": floor, **rows}
    report(table, judge.accuracy, arguments)


def report(table: dict[str, Any], accuracy: float, arguments: argparse.Namespace) -> None:
    """Print the table, keep the JSON."""
    print(f"{'':24}{'class accuracy':>16}{'Fréchet':>10}{'precision':>11}{'recall':>8}{'steps':>8}")
    for name, row in table.items():
        print(
            f"{name:24}{row['class accuracy']:16.3f}{row['Fréchet distance']:10.2f}"
            f"{row['precision']:11.3f}{row['recall']:8.3f}{row.get('steps', ''):>8}"
        )
    found = {
        "what": "Fashion-MNIST by class after equal processor time; features of the judge, not of Inception",
        "judge accuracy on the test set": accuracy,
        "samples": arguments.samples,
        "sampling steps": STEPS,
        "threads of each": arguments.threads,
        "contestants": table,
        "machine": {"processor": platform.processor(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {name: version(name) for name in ("torch", "diffusers")},
    }
    (RESULTS / "fashion.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
