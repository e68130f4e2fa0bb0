"""Pictures are judged alike, drawn or real: by their class, their place among real ones, their caption."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vermeil_data import (
    EncodedImages,
    ImageEncoding,
    TokenizerSpec,
    encode_images,
    open_dataset,
    write_dataset,
)
from vermeil_data.encode import fit_tokenizer
from vermeil_data.testing import picture_samples
from vermeil_errors import InvalidInput
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.compare import compare
from vermeil_evaluator.evaluate import Evaluation, Named, Subjects, measure
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.models.model import PictureSize
from vermeil_evaluator.models.opening import open_model
from vermeil_evaluator.page import PAGE_FILE
from vermeil_evaluator.pictures import real
from vermeil_evaluator.report import Findings, read_report
from vermeil_evaluator.requests import Answer, Embed, Embedding, Picture, Request, SampleImage
from vermeil_media import decode_image
from vermeil_metrics import frechet_distance
from vermeil_model import (
    ClassifierConfig,
    DualConfig,
    DualEncoder,
    ImageClassifier,
    from_pixels,
    save_checkpoint,
)
from vermeil_model.testing import small_image_model


@pytest.fixture
def images(tmp_path: Path) -> EncodedImages:
    """Sixty pictures to learn from and 45 others."""
    samples = picture_samples(105)
    write_dataset(tmp_path / "raw", {"train": samples[:60], "validation": samples[60:]}, "pictures")
    raw = open_dataset(tmp_path / "raw")
    tokenizer = fit_tokenizer(raw, TokenizerSpec("byte"))
    return encode_images(raw, ImageEncoding(8, 8, 1, "stretch"), tmp_path / "encoded", tokenizer=tokenizer)


def small_image_folder(folder: Path, names: Sequence[str], **extra: object) -> Path:
    model = small_image_model(image_height=8, channels=1, condition="class", num_classes=3, context_length=2)
    save_checkpoint(folder, model, extra={"class_names": list(names), **extra})
    return folder


class Copyist(FakeModel):
    """Draws what it has seen: real pictures of a split by the number of the request."""

    def __init__(self, images: EncodedImages, split: str, **options: Any) -> None:
        super().__init__(f"sha256:copyist-{split}", **options)
        self._pictures = [each.image for each in real(images, split)]

    def _one(self, request: Request) -> Answer:
        if isinstance(request, SampleImage):
            return Picture(self._pictures[request.seed % 1_000_003 % len(self._pictures)])
        return super()._one(request)


class Judge(FakeModel):
    """Sees all pixels, and tells classes apart by a rule of thumb."""

    def _one(self, request: Request) -> Answer:
        assert isinstance(request, Embed)
        if not request.image:
            return Embedding(np.ones(9, np.float32), np.zeros(0, np.float32))
        ink = decode_image(request.image, channels=1)[::3, ::3, 0].ravel().astype(np.float32) / np.float32(
            255
        )
        return Embedding(ink, np.eye(3, dtype=np.float32)[len(request.image) % 3])


def run(
    model: FakeModel, images: EncodedImages, out: Path, task: str = "image-quality", **options: Any
) -> Findings:
    judge = options.pop("judge", Judge("sha256:judge", class_names=images.class_names))
    subjects = Subjects(model, f"models/{model.digest}", Named("datasets/d", images.folder), judge)
    with AnswerCache(out.parent / "answers") as cache:
        measure(Evaluation(task, **options), subjects, out, cache, lambda *_: None)
    return read_report(out)


def numbers(found: Findings) -> dict[str, float]:
    return {metric.name: metric.interval.value for metric in found.report.metrics}


def test_real_pictures_are_at_no_distance_from_themselves(images: EncodedImages, tmp_path: Path) -> None:
    found = run(Copyist(images, "validation"), images, tmp_path / "out", limit=45)
    assert numbers(found)["fid_small"] == pytest.approx(0, abs=1e-6)
    for name in ("precision_small", "recall_small", "coverage_small"):
        assert numbers(found)[name] == 1.0
    assert numbers(found)["fid_small_of_real"] > 0
    assert found.report.num_items == 45
    assert found.report.judge.startswith("a fake, accuracy ")
    assert found.report.judge.endswith("on the real ones, sha256:judge")
    assert 0 <= float(str(found.details["judge_accuracy"])) <= 1
    assert "not Inception" in str(found.details["space"])


def test_numbers_are_those_of_the_arrays_that_are_kept(images: EncodedImages, tmp_path: Path) -> None:
    found = run(FakeModel(), images, tmp_path / "out", limit=40)
    arrays = found.arrays
    assert numbers(found)["fid_small"] == pytest.approx(
        frechet_distance(arrays["features"], arrays["reference"])
    )
    assert numbers(found)["recall_small"] == pytest.approx(arrays["recalled"].mean())
    assert len(arrays["reference"]) == 45
    best = run(Copyist(images, "validation"), images, tmp_path / "best", limit=40)
    assert numbers(found)["fid_small"] > numbers(best)["fid_small"]


def test_copies_of_training_pictures_are_found_and_shown(images: EncodedImages, tmp_path: Path) -> None:
    copied = run(Copyist(images, "train"), images, tmp_path / "out", limit=40)
    assert numbers(copied)["near_copies"] == 1.0
    assert copied.items[7]["nearest_train"] == 7
    page = (tmp_path / "out" / PAGE_FILE).read_text()
    assert "Nearest training pictures" in page
    assert "than 99% of 45 unseen real ones; coarse" in page
    assert page.count("data:image/png") > 40


def test_classes_are_asked_for_as_often_as_real_pictures_have_them(
    images: EncodedImages, tmp_path: Path
) -> None:
    model = FakeModel()
    run(model, images, tmp_path / "out", limit=45, options={"steps": "7", "guidance": "2"})
    asked = [request for request in model.asked if isinstance(request, SampleImage)]
    names = [images.class_names[index] for index in images.classes("validation").tolist()]
    assert [request.condition for request in asked] == names
    assert {(request.steps, request.guidance) for request in asked} == {(7, 2.0)}
    assert len({request.seed for request in asked}) == 45
    others = FakeModel()
    run(others, images, tmp_path / "out", limit=45, seed=1)
    assert {request.seed for request in others.asked} & {request.seed for request in asked} == set()  # type: ignore[union-attr]


def test_captions_are_asked_for_where_the_model_reads_them(images: EncodedImages, tmp_path: Path) -> None:
    reader, blind = FakeModel(condition="text"), FakeModel(condition="none")
    run(reader, images, tmp_path / "reader", limit=10)
    assert reader.asked[1].condition.endswith("number 61")  # type: ignore[union-attr]
    found = run(blind, images, tmp_path / "blind", limit=10)
    assert {request.condition for request in blind.asked} == {""}  # type: ignore[union-attr]
    assert "class_accuracy" not in numbers(found)


def test_a_second_run_neither_draws_nor_judges(images: EncodedImages, tmp_path: Path) -> None:
    run(FakeModel(), images, tmp_path / "first", limit=20)
    model, judge = FakeModel(), Judge("sha256:judge", class_names=images.class_names)
    run(model, images, tmp_path / "second", limit=20, judge=judge)
    assert model.asked == judge.asked == []
    files = [(tmp_path / name / PAGE_FILE).read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]


def test_samples_of_two_models_are_compared(images: EncodedImages, tmp_path: Path) -> None:
    good = run(Copyist(images, "validation"), images, tmp_path / "good", limit=45)
    bad = run(FakeModel(), images, tmp_path / "bad", limit=45)
    differences = {each.name: each for each in compare(good, bad).metrics}
    assert differences["fid_small"].verdict == "first is better"
    assert differences["coverage_small"].verdict == "first is better"
    assert all(each.p_value == 1.0 for each in compare(bad, bad).metrics)


def test_a_caption_is_found_by_its_picture(images: EncodedImages, tmp_path: Path) -> None:
    class Pair(FakeModel):
        """Knows which picture was drawn for which caption."""

        def _one(self, request: Request) -> Answer:
            assert isinstance(request, Embed)
            place = self.drawn.get(request.image, request.text)
            number = int(place.split()[-1]) if place.split()[-1].isdigit() else -1
            return Embedding(np.eye(120, dtype=np.float32)[number], np.zeros(0, np.float32))

        drawn: dict[bytes, str]

    class Painter(FakeModel):
        drawn: dict[bytes, str]

        def _one(self, request: Request) -> Answer:
            answer = super()._one(request)
            if isinstance(request, SampleImage) and isinstance(answer, Picture):
                self.drawn[answer.png] = request.condition
            return answer

    painter, pair = Painter(condition="text"), Pair("sha256:pair", space="shared")
    painter.drawn = pair.drawn = {}
    found = run(painter, images, tmp_path / "out", task="r-precision", limit=30, judge=pair)
    assert numbers(found)["r_precision"] == 1.0
    assert found.details["among"] == 30
    blind = Painter("sha256:blind", condition="none")
    blind.drawn = {}
    guessed = run(
        blind,
        images,
        tmp_path / "blind",
        task="r-precision",
        limit=30,
        judge=Judge("sha256:j", space="shared"),
    )
    assert numbers(guessed)["r_precision"] < 0.5


def test_a_judge_is_asked_for_by_name(images: EncodedImages, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.judge = '': is needed for image-quality"):
        run(FakeModel(), images, tmp_path / "out", judge=None)


@pytest.mark.parametrize(
    ("task", "model", "judge", "problem"),
    [
        (
            "image-quality", {"picture_size": PictureSize(16, 16, 1)}, {},
            r"spec\.model = '16x16x1': is the size of pictures of the model, those of the data are 8x8x1; "
            "encode the data at 16x16x1, or name a model that was trained at 8x8x1",
        ),
        (
            "image-quality", {}, {"picture_size": PictureSize(8, 8, 3)},
            r"spec\.judge = '8x8x3': is the size of pictures of the judge, those of the data are 8x8x1",
        ),
        (
            "r-precision", {}, {"picture_size": PictureSize(8, 12, 1), "space": "shared"},
            r"spec\.judge = '8x12x1': is the size of pictures of the judge",
        ),
        ("image-quality", {}, {"space": "inception"}, "is no judge for this task; .* the task inception-fid"),
        ("inception-fid", {}, {}, "is no judge for this task; name a folder that .* inception WEIGHTS"),
        ("r-precision", {}, {}, "is no judge for this task; name a dual encoder"),
    ],
)  # fmt: skip
def test_models_and_judges_that_do_not_fit_are_refused_before_anything_is_drawn(
    images: EncodedImages,
    tmp_path: Path,
    task: str,
    model: dict[str, Any],
    judge: dict[str, Any],
    problem: str,
) -> None:
    asked = FakeModel(**model)
    with pytest.raises(InvalidInput, match=problem):
        run(asked, images, tmp_path / "out", task=task, limit=9, judge=Judge("sha256:judge", **judge))
    assert asked.asked == []


def test_the_numbers_of_inceptions_space_have_names_of_their_own(
    images: EncodedImages, tmp_path: Path
) -> None:
    judge = Judge("sha256:judge", space="inception")
    found = run(
        Copyist(images, "validation"), images, tmp_path / "out", "inception-fid", limit=45, judge=judge
    )
    assert numbers(found)["inception_fid"] == pytest.approx(0, abs=1e-6)
    assert set(numbers(found)) == {
        *(f"inception_{each}" for each in ("fid", "fid_of_real", "kid", "precision", "recall")),
        *("inception_density", "inception_coverage", "near_copies"),
    }
    assert "not Inception" not in str(found.details["space"])


def test_pictures_that_are_not_encoded_are_taken_in_the_models_size(
    images: EncodedImages, tmp_path: Path
) -> None:
    size = PictureSize(8, 8, 1, "stretch")
    encoded = run(FakeModel(picture_size=size), images, tmp_path / "encoded-out", limit=9)
    judge = Judge("sha256:judge", class_names=images.class_names)
    subjects = Subjects(
        FakeModel(picture_size=size), "models/fake", Named("datasets/d", tmp_path / "raw"), judge
    )
    with AnswerCache(tmp_path / "other-answers") as cache:
        measure(Evaluation("image-quality", limit=9), subjects, tmp_path / "out", cache, lambda *_: None)
    assert numbers(read_report(tmp_path / "out")) == numbers(encoded)


def test_models_in_folders_draw_and_judge(
    images: EncodedImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"class_names": list(images.class_names)}
    small_image_folder(tmp_path / "model", images.class_names, sampling={"steps": 2, "guidance": 1.5})
    save_checkpoint(tmp_path / "judge", ImageClassifier(ClassifierConfig(8, 8, 1, 3, width=8)), extra=names)
    arguments = (str(tmp_path / "model"), str(images.folder), "--task", "image-quality", "--limit", "12")
    places = ("--judge", str(tmp_path / "judge"), "--out", str(tmp_path / "out"))
    assert main(*arguments, *places, "--cache", str(tmp_path / "answers")) == 0
    shown = capsys.readouterr().out
    for name in ("fid_small", "kid_small", "class_accuracy", "near_copies", "a small frozen classifier"):
        assert name in shown
    assert main(*arguments, *places, "--cache", str(tmp_path / "answers")) == 0
    assert "0 answers of the model, 129 known before" in capsys.readouterr().out


def test_a_picture_depends_on_its_seed_and_class_alone(images: EncodedImages, tmp_path: Path) -> None:
    small_image_folder(tmp_path / "model", "abc")
    model = open_model(tmp_path / "model")

    def draw(*requests: SampleImage) -> list[Answer]:
        return [answer for batch in model.answer(iter(requests), lambda: None) for answer in batch]

    one, other = SampleImage("a", 1, steps=2), SampleImage("b", 2, steps=3)
    alone = draw(one)
    assert draw(one, other, SampleImage("a", 3, steps=2))[0] == alone[0] == draw(other, one)[1]
    assert draw(SampleImage("0", 1, steps=2)) == alone
    with pytest.raises(InvalidInput, match="condition = 'd': is no class of this model; use a, b, c"):
        draw(SampleImage("d"))
    with pytest.raises(InvalidInput, match="solver = 'magic'"):
        draw(SampleImage("a", solver="magic"))


def test_a_pair_of_encoders_puts_texts_and_pictures_into_one_space(
    images: EncodedImages, tmp_path: Path
) -> None:
    assert images.tokenizer
    config = DualConfig(8, 8, 1, 4, images.tokenizer.vocab_size, 12, 10, depth=1, width=16, num_heads=2)
    encoder = DualEncoder(config).eval()
    save_checkpoint(tmp_path / "dual", encoder)
    images.tokenizer.save(tmp_path / "dual")
    texts = [Embed(text="a circle"), Embed(text="a long caption of a square")]
    requests = [texts[0], *real(images, "validation", 2), texts[1]]
    (answers,) = open_model(tmp_path / "dual").answer(iter(requests), lambda: None)
    vectors = np.stack([answer.vector_D for answer in answers if isinstance(answer, Embedding)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    pixels = torch.from_numpy(np.array(images.pixels("validation")[:2]))
    with torch.inference_mode():
        expected = encoder.embed_images(from_pixels(pixels)).numpy()
    np.testing.assert_allclose(vectors[1:3], expected, atol=1e-5)
