"""Which pictures are kept, how they are described, and that the outcome does not depend on who looked."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vermeil_errors import InvalidInput
from vermeil_ingest.images.buckets import bucket_of
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.ingest import Ingestion, ingest
from vermeil_ingest.sources import Source
from vermeil_media import ImageLimits, encode_png, resize_image

from .pictures import captions, fill, nonzero, pixels, png, run, samples


def rules(**settings: object) -> ImageRules:
    return ImageRules(**{"num_workers": 1, **settings})  # type: ignore[arg-type]


def test_equal_files_count_once_and_can_be_kept(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", "a.png", "b.png")
    (folder / "again.png").write_bytes(png(0))
    dataset = run(tmp_path, Source(folder))
    assert set(samples(dataset)) == {"a.png", "b.png"}
    assert dataset.card.counts["duplicate"] == 1
    assert len(samples(run(tmp_path, Source(folder), keep_duplicates=True))) == 3


def test_pictures_that_look_alike_count_once_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", "a.png", "b.png")
    file = io.BytesIO()
    Image.fromarray(pixels(0)).save(file, "JPEG", quality=90)
    (folder / "recompressed.jpg").write_bytes(file.getvalue())
    (folder / "scaled.png").write_bytes(encode_png(resize_image(pixels(0), 64, 64)))
    other_colour = pixels(0)[:, :, ::-1].copy()
    (folder / "swapped.png").write_bytes(encode_png(other_colour))
    assert len(samples(run(tmp_path, Source(folder)))) == 5
    dataset = run(tmp_path, Source(folder), rules=rules(near_duplicates=6))
    assert set(samples(dataset)) == {"a.png", "b.png", "swapped.png"}
    assert dataset.card.counts["near_duplicate"] == 2


def test_a_test_picture_is_kept_also_where_training_has_it_and_this_is_counted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", *(f"train/{number}.png" for number in range(4)), "test/x.png")
    (folder / "test/shared.png").write_bytes(png(0))
    dataset = run(tmp_path, Source(folder))
    assert dataset.card.splits["test"].num_samples == 2
    assert dataset.card.counts["shared_between_splits"] == 1
    assert dataset.card.counts["duplicate"] == 0


def test_filters_leave_pictures_out_and_count_them(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", "good.png", "long.png")
    sharp = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    (folder / "good.png").write_bytes(encode_png(sharp))
    (folder / "small.png").write_bytes(png(7, 10, 40))
    (folder / "blurred.png").write_bytes(encode_png(np.full((30, 30, 3), 80, np.uint8)))
    (folder / "thin.png").write_bytes(png(8, 20, 90))
    (folder / "long.png").write_bytes(encode_png(sharp[::-1].copy()))
    (folder / "long.txt").write_text("far too many words for anybody to read\nalso too many words for us")
    (folder / "good.txt").write_text("good\nfar too many words for anybody to read")
    (folder / "thin.txt").write_text("thin")
    limits = ImageLimits(max_ratio=4)
    dataset = run(
        tmp_path, Source(folder), rules=rules(min_side=16, min_sharpness=50, max_caption=20, limits=limits)
    )
    assert captions(samples(dataset)["good.png"]) == ["good"]
    assert nonzero(dataset) == {
        "files_found": 5,
        "files_other": 3,
        "written": 1,
        "captions": 1,
        "too_small": 1,
        "blurred": 1,
        "ratio": 1,
        "caption_length": 1,
    }
    # What a filter leaves out is no bad file.
    run(tmp_path, Source(folder, exclude=("thin.png",)), rules=rules(min_side=16), bad_files="refuse")


def test_templates_make_captions_of_classes(tmp_path: Path) -> None:
    folder = fill(tmp_path / "zoo", "ant/1.png", "bee/1.png")
    (folder / "bee/1.txt").write_text("its own words")
    templates = ("one {class}", "this is {class}, a {class}")
    found = samples(run(tmp_path, Source(folder), rules=rules(caption_templates=templates)))
    assert captions(found["ant/1.png"]) == ["one ant", "this is ant, a ant"]
    assert captions(found["bee/1.png"]) == ["its own words"]
    with pytest.raises(InvalidInput, match=r"caption_templates\[0\] = 'a thing': has no place for the class"):
        rules(caption_templates=("a thing",))


def test_aspect_buckets_are_recorded_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, height, width in (("a", 30, 30), ("b", 30, 41), ("c", 60, 30), ("d", 29, 30)):
        (folder / f"{name}.png").write_bytes(png(ord(name), height, width))
    dataset = run(tmp_path, Source(folder))
    buckets = {name: sample.metadata["bucket"] for name, sample in samples(dataset).items()}
    assert buckets == {"a.png": "1x1", "b.png": "4x3", "c.png": "1x2", "d.png": "1x1"}
    counts = {name: count for name, count in dataset.card.counts.items() if name.startswith("bucket")}
    assert counts == {"bucket_1x1": 2, "bucket_4x3": 1, "bucket_1x2": 1}
    assert bucket_of(1000, 100) == "2x1"
    assert samples(dataset)["b.png"].metadata["width"] == "41"


@pytest.mark.parametrize("num_workers", [2, 3])
def test_the_number_of_workers_changes_nothing(tmp_path: Path, num_workers: int) -> None:
    folder = fill(tmp_path / "shelf", *(f"{number}.png" for number in range(300)))
    (folder / "bad.png").write_text("<html>")
    results = []
    for count in (1, num_workers):
        ingestion = Ingestion(
            "p", (Source(folder),), 0.1, images=ImageRules(near_duplicates=2, num_workers=count)
        )
        ingest(ingestion, tmp_path / f"out{count}", roots=[tmp_path])
        files = sorted((tmp_path / f"out{count}").iterdir())
        results.append([(path.name, path.read_bytes()) for path in files])
    assert results[0] == results[1]


def test_progress_counts_pictures_and_may_stop_the_work(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", *(f"{number:03d}.png" for number in range(300)))
    seen: list[tuple[int, int, str]] = []
    ingestion = Ingestion("p", (Source(folder),), 0.0, images=rules())
    ingest(ingestion, tmp_path / "out", roots=[tmp_path], report=lambda *report: seen.append(report))
    assert seen[0] == (0, 300, "000.png")
    assert seen[-1] == (300, 300, "300 pictures")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(ingestion, tmp_path / "stopped", roots=[tmp_path], report=stop)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_side": 0}, r"spec\.images\.min_side = 0: is out of range"),
        ({"near_duplicates": 9}, "use 0 to 8 bits"),
        ({"num_shards": -1}, "num_shards = -1"),
    ],
)
def test_impossible_rules_are_refused_by_name(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        rules(**settings)
