"""Tasks about pictures and words: right numbers on answers we know, and who cannot do them is told so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vermeil_data import Sample, Segment, write_dataset
from vermeil_data.shapes import CATEGORIES, Scene, Shape, question_samples, render, shape_samples
from vermeil_data.shapes.prompts import Prompt
from vermeil_data.testing import asked_samples, documents, picture_samples
from vermeil_errors import InvalidInput
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.catalogue import find_task
from vermeil_evaluator.catalogue.shape_prompts import Prompts
from vermeil_evaluator.compare import compare
from vermeil_evaluator.evaluate import Evaluation, Named, Subjects, measure
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.models.model import Model, PictureSize
from vermeil_evaluator.models.opening import open_model
from vermeil_evaluator.page import PAGE_FILE
from vermeil_evaluator.report import Findings, read_report
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    Embed,
    Embedding,
    FlowLoss,
    GenerateUntil,
    ImageLoss,
    Picture,
    Request,
    SampleImage,
)
from vermeil_media import encode_png
from vermeil_metrics import cider_d
from vermeil_model import FusedModel, ImageModel, TextModel, load_checkpoint, save_checkpoint

TASKS = ("captioning", "vqa", "listening", "image-loss")


def write(folder: Path, samples: Sequence[Sample], train: Sequence[Sample] = ()) -> Path:
    write_dataset(folder, {"train": train, "validation": samples}, folder.name)
    return folder


def run(
    model: Model, task: str, data: Path, out: Path, judge: Model | None = None, **options: Any
) -> Findings:
    subjects = Subjects(model, model.digest, Named(data.name, data), judge)
    with AnswerCache(None) as cache:
        measure(Evaluation(task, **options), subjects, out, cache, lambda *_: None)
    return read_report(out)


def numbers(found: Findings) -> dict[str, float]:
    return {metric.name: metric.interval.value for metric in found.report.metrics}


class Knowing(FakeModel):
    """Answers with what it was told of pictures' files."""

    def __init__(self, said: dict[tuple[bytes, str], str], **options: Any) -> None:
        super().__init__(**options)
        self._said = said

    def _one(self, request: Request) -> Answer:
        if isinstance(request, GenerateUntil):
            return Continuation(self._said[request.images[0], request.prompt], "stop", 1)
        return super()._one(request)


def file_of(sample: Sample) -> bytes:
    return next(segment.data or b"" for segment in sample.segments if segment.modality == "image")


def test_captions_are_held_against_all_that_people_wrote(tmp_path: Path) -> None:
    samples = picture_samples(9)
    references = [[segment.text or "" for segment in sample.segments[:-1]] for sample in samples]
    said = [of_one[-1] if index % 2 else "dog" for index, of_one in enumerate(references)]
    model = Knowing({(file_of(sample), ""): text for sample, text in zip(samples, said, strict=True)})
    found = run(model, "captioning", write(tmp_path / "data", samples), tmp_path / "out")
    assert [item["expected"] for item in found.items] == references
    assert numbers(found)["cider_d"] == pytest.approx(cider_d(said, references).mean())
    assert numbers(found)["rouge_l"] == pytest.approx(4 / 9)
    page = (tmp_path / "out" / PAGE_FILE).read_text()
    assert "stripe number 6 · stripe" not in page  # has one caption
    assert "slope number 8 · slope · a slope" in page
    assert page.count("data:image/png") == 9 + 8  # all of them, and all but the best


def test_pictures_without_captions_are_called_by_their_class(tmp_path: Path) -> None:
    samples = [
        Sample.of_image(file_of(each), "image/png", metadata=each.metadata) for each in picture_samples(6)
    ]
    found = run(FakeModel(), "captioning", write(tmp_path / "data", samples), tmp_path / "out")
    assert [item["expected"] for item in found.items] == [["stripe"], ["check"], ["slope"]] * 2


def questions_about(samples: Sequence[Sample]) -> dict[tuple[bytes, str], str]:
    return {(file_of(each), each.segments[1].text or ""): each.segments[2].text or "" for each in samples}


def test_answers_count_beside_what_is_guessed_without_looking(tmp_path: Path) -> None:
    samples = asked_samples(40)
    right = questions_about(samples[16:])
    model = Knowing({about: answer.upper() + "." for about, answer in right.items()})
    found = run(model, "vqa", write(tmp_path / "data", samples[16:], samples[:16]), tmp_path / "out")
    # Of 8 pictures to learn from 3 are stripes; most of them are none.
    guessed = [
        float(answer == {"what is it?": "stripe"}.get(question, "no"))
        for (_, question), answer in right.items()
    ]
    known = numbers(found)
    assert known["accuracy"] == 1.0
    assert known["guess_accuracy"] == pytest.approx(np.mean(guessed))
    assert known["beyond_guess"] == pytest.approx(1 - np.mean(guessed))
    assert known["accuracy of yes/no"] == known["accuracy of other"] == 1.0
    assert found.details["questions by type"] == {"other": 12, "yes/no": 12}
    assert {request.max_tokens for request in model.asked if isinstance(request, GenerateUntil)} == {16}


def test_a_new_question_is_guessed_by_the_commonest_answer(tmp_path: Path) -> None:
    samples, train = asked_samples(8), asked_samples(9)[1::2]
    found = run(FakeModel(), "vqa", write(tmp_path / "data", samples, train), tmp_path / "out")
    assert {item["guess"] for item in found.items} == {"stripe"}  # of 2 stripes, a check and a slope


def test_without_training_data_nothing_is_guessed(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", {"validation": asked_samples(8)}, "alone")
    found = run(FakeModel(), "vqa", tmp_path / "data", tmp_path / "out")
    assert "accuracy" in numbers(found)
    assert "guess_accuracy" not in numbers(found)


def test_datasets_may_name_their_own_types_of_questions(tmp_path: Path) -> None:
    samples = [
        Sample(each.segments, each.id, {"question_type": f"sort {index % 3}"})
        for index, each in enumerate(asked_samples(9))
    ]
    found = run(FakeModel(), "vqa", write(tmp_path / "data", samples), tmp_path / "out")
    assert {f"accuracy of sort {sort}" for sort in range(3)} < set(numbers(found))


def test_questions_about_one_picture_are_one_piece_of_evidence(tmp_path: Path) -> None:
    samples = list(question_samples(12, side=24))
    right = questions_about(samples)
    moody = {key: answer if key[0][-20] % 2 else "?" for key, answer in right.items()}
    alone = [Sample(each.segments, each.id, {"x": str(index)}) for index, each in enumerate(samples)]
    found = run(Knowing(moody), "vqa", write(tmp_path / "data", alone), tmp_path / "out")
    assert len({item["group"] for item in found.items}) == 12
    grouped = found.report.metrics[0].interval
    values = np.array([item["accuracy"] for item in found.items])
    as_if_apart = 1.96 * values.std() / len(values) ** 0.5
    assert (grouped.high - grouped.low) / 2 > 1.5 * as_if_apart


class Listener(FakeModel):
    """Its loss is less by a half where the prompt is the picture's own."""

    def __init__(self, own: dict[bytes, set[str]], **options: Any) -> None:
        super().__init__(**options)
        self._own = own

    def _one(self, request: Request) -> Answer:
        if isinstance(request, ImageLoss):
            return FlowLoss(1.0 - 0.5 * (request.condition in self._own[request.image]))
        return super()._one(request)


@pytest.mark.parametrize("condition", ["text", "class"])
def test_who_listens_loses_by_a_wrong_prompt(tmp_path: Path, condition: str) -> None:
    samples = picture_samples(12)
    own = {
        file_of(each): {segment.text or "" for segment in each.segments[:-1]} | {each.metadata["class"]}
        for each in samples
    }
    data = write(tmp_path / "data", samples)
    model = Listener(own, condition=condition)
    found = run(model, "listening", data, tmp_path / "out")
    assert numbers(found) == {"listening": 0.5, "loss_right": 0.5, "loss_wrong": 1.0}
    losses = [request for request in model.asked if isinstance(request, ImageLoss)]
    assert all(one.seed == other.seed for one, other in zip(losses[::2], losses[1::2], strict=True))
    assert len({request.seed for request in losses}) == 12
    deaf = Listener({file: {""} for file in own}, condition=condition)
    assert numbers(run(deaf, "listening", data, tmp_path / "deaf"))["listening"] == 0.0
    some = run(model, "listening", data, tmp_path / "some", limit=3)
    assert [item["wrong prompt"] for item in some.items] == [item["wrong prompt"] for item in found.items][:3]


class ShapePainter(FakeModel):
    """Draws what prompts of shapes ask for, but for crosses, which it takes for circles."""

    def __init__(self, wanted: Sequence[Prompt], **options: Any) -> None:
        super().__init__(condition="text", picture_size=PictureSize(32, 32, 3), **options)
        self._wanted = {each.text: each for each in wanted}

    def _one(self, request: Request) -> Answer:
        assert isinstance(request, SampleImage)
        prompt = self._wanted[request.condition]
        looks = [
            (each.kind.replace("cross", "circle"), each.colour or "red")
            for each in prompt.wanted
            for _ in range(each.count or 1)
        ]
        places = {"left of": [(1, 0), (1, 2)], "right of": [(1, 2), (1, 0)]}
        places |= {"above": [(0, 1), (2, 1)], "below": [(2, 1), (0, 1)]}
        cells = places.get(prompt.relation or "", [(0, 0), (0, 2), (2, 0), (2, 2)])
        shapes = [Shape(*cell, *look, "large") for cell, look in zip(cells, looks, strict=False)]
        return Picture(encode_png(render(Scene.of(shapes))))


def test_shapes_are_judged_in_six_categories_by_a_program(tmp_path: Path) -> None:
    data = write(tmp_path / "shapes", list(shape_samples(3)))
    wanted = [item["wanted"] for item in Prompts(96, 0)]
    assert [each.category for each in wanted[:7]] == [*CATEGORIES, CATEGORIES[0]]
    found = run(ShapePainter(wanted), "shape-prompts", data, tmp_path / "out", limit=96)
    crossed = [any(each.kind == "cross" for each in prompt.wanted) for prompt in wanted]
    assert [item["overall"] for item in found.items] == [float(not crosses) for crosses in crossed]
    for name in CATEGORIES:
        of_it = [not crosses for crosses, each in zip(crossed, wanted, strict=True) if each.category == name]
        assert numbers(found)[name] == pytest.approx(np.mean(of_it))
    assert {item["seen"] for item in found.items if not item["overall"]} <= {
        item["seen"] for item in found.items if "circle" in item["seen"]
    }
    again = run(ShapePainter(wanted, digest="sha256:b"), "shape-prompts", data, tmp_path / "again", limit=96)
    assert {each.p_value for each in compare(found, again).metrics} == {1.0}


class Namer(FakeModel):
    """A judge that knows three classes by the first letter of a caption, or by a rule of thumb."""

    def __init__(self, drawn: dict[bytes, str]) -> None:
        super().__init__("sha256:judge", class_names=("stripe", "check", "slope"))
        self._drawn = drawn

    def _one(self, request: Request) -> Answer:
        assert isinstance(request, Embed)
        said = self._drawn.get(request.image, "slope")
        number = next(place for place, name in enumerate(self.class_names) if name in said)
        return Embedding(np.zeros(2, np.float32), np.eye(3, dtype=np.float32)[number])


class Painter(FakeModel):
    """Draws stripes for whoever wants slopes."""

    def __init__(self) -> None:
        super().__init__("sha256:painter", condition="text")
        self.drawn: dict[bytes, str] = {}

    def _one(self, request: Request) -> Answer:
        answer = super()._one(request)
        assert isinstance(request, SampleImage)
        assert isinstance(answer, Picture)
        self.drawn[answer.png] = request.condition.replace("slope", "stripe")
        return answer


def test_drawn_pictures_show_the_class_that_words_asked_for(tmp_path: Path) -> None:
    plain = [
        Sample.of_image(file_of(each), "image/png", (), id=each.id, metadata=each.metadata)
        for each in picture_samples(9)
    ]
    for name, samples in (("told", picture_samples(9)), ("named", plain)):
        data = write(tmp_path / name, samples, picture_samples(3))
        painter = Painter()
        painter.picture_size = PictureSize(8, 8, 3, "stretch")
        found = run(painter, "text-to-image", data, tmp_path / f"{name}-out", Namer(painter.drawn), limit=9)
        assert numbers(found)["class_accuracy"] == pytest.approx(2 / 3)
        assert numbers(found)["accuracy of check"] == 1.0
        assert numbers(found)["accuracy of slope"] == 0.0
        assert found.details["judge_accuracy"] == pytest.approx(1 / 3)
    assert {request.condition for request in painter.asked} == {"stripe", "check", "slope"}  # type: ignore[union-attr]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write(tmp_path / "pictures", picture_samples(8), picture_samples(4))


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return write(tmp_path / "asked", asked_samples(8), asked_samples(12))


@pytest.mark.parametrize("task", TASKS)
def test_a_fused_model_in_a_folder_does_it_and_differs_not_from_itself(
    fused_folder: Path, pictures: Path, asked: Path, tmp_path: Path, task: str
) -> None:
    data = asked if task == "vqa" else pictures
    one, same = (
        run(open_model(fused_folder), task, data, tmp_path / name, limit=6) for name in ("one", "same")
    )
    assert one.report.num_items == 6
    assert all(each.p_value == 1.0 for each in compare(one, same).metrics)
    page = (tmp_path / "one" / PAGE_FILE).read_text()
    assert page.count("data:image/png") >= 6


def test_what_a_backbone_could_do_is_compared_with_what_is_left_of_it(
    fused_folder: Path, pictures: Path, many_texts: Path, tmp_path: Path
) -> None:
    network = load_checkpoint(fused_folder, FusedModel)
    text, image = TextModel(network.config.text), ImageModel(network.config.image)
    text.load_state_dict(network.text.state_dict())
    image.load_state_dict(network.image.state_dict())
    for name, backbone in (("text", text), ("image", image)):
        save_checkpoint(tmp_path / name, backbone, extra={"image_fit": "stretch"})
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (tmp_path / name / file).write_bytes((fused_folder / file).read_bytes())
    for name, task, data in (("text", "bits-per-byte", many_texts), ("image", "image-loss", pictures)):
        before, after = (
            run(open_model(folder), task, data, tmp_path / f"{task}-{folder.name}")
            for folder in (tmp_path / name, fused_folder)
        )
        (difference,) = compare(after, before).metrics
        assert difference.first == pytest.approx(difference.second, rel=1e-4)


@pytest.mark.parametrize(
    ("task", "data", "model", "problem"),
    [
        ("captioning", "texts", {}, r"spec\.dataset = 'texts': has no samples with a picture and captions"),
        ("captioning", "asked", {}, "has no samples with a picture and captions in its split 'validation'"),
        ("vqa", "pictures", {}, "has no samples with a picture, a question and an answer .* name another"),
        ("image-loss", "texts", {}, "has no samples with a picture in its split"),
        ("listening", "asked", {"condition": "text"}, "has no samples with a picture and captions"),
        ("listening", "pictures", {"condition": "none"}, r"spec\.model = 'a fake': is not asked for"),
        ("shape-prompts", "pictures", {}, r"spec\.dataset = 'pictures': holds no pictures of shapes"),
        ("shape-prompts", "shapes", {}, r"spec\.model = 'a fake': is not asked for pictures by words"),
        (
            "shape-prompts",
            "shapes",
            {"condition": "text", "picture_size": PictureSize(28, 28, 1)},
            r"spec\.model = '28x28x1': are pictures in which no shapes can be read: squares of at least 24",
        ),
        ("text-to-image", "pictures", {"condition": "class"}, r"spec\.model = 'a fake': has no size of pict"),
        (
            "text-to-image",
            "pictures",
            {"condition": "class", "picture_size": PictureSize(8, 8, 3)},
            r"spec\.model = 'a fake': is not asked for pictures by words; name a fused model, or choose",
        ),
    ],
)  # fmt: skip
def test_data_and_models_that_do_not_fit_are_refused_before_anything_is_asked(
    pictures: Path, asked: Path, tmp_path: Path, task: str, data: str, model: dict[str, Any], problem: str
) -> None:
    write(tmp_path / "texts", [Sample.of_text(text) for text in documents(4)])
    write(tmp_path / "shapes", list(shape_samples(2)))
    judge = FakeModel("sha256:judge") if find_task(task).needs_judge else None
    asker = FakeModel(**model)
    with pytest.raises(InvalidInput, match=problem):
        run(asker, task, tmp_path / data, tmp_path / "out", judge, limit=2)
    assert asker.asked == []


def test_a_split_in_which_all_is_called_alike_has_no_wrong_prompt(tmp_path: Path) -> None:
    samples = [
        Sample.of_image(file_of(each), "image/png", ["a thing"], id=each.id) for each in picture_samples(3)
    ]
    with pytest.raises(InvalidInput, match="everything is called alike"):
        run(
            FakeModel(condition="text"),
            "listening",
            write(tmp_path / "data", samples),
            tmp_path / "out",
        )


def test_a_text_model_is_told_that_it_looks_at_nothing(
    model_folder: Path, asked: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="'a text model': looks at no pictures"):
        run(open_model(model_folder), "vqa", asked, tmp_path / "out")


def test_conversations_are_no_questions(tmp_path: Path) -> None:
    one, two = asked_samples(2)
    talk = Sample((*one.segments, *two.segments[1:]), "talk")
    drawn = Sample((*one.segments, Segment("image", data=file_of(one))), "drawn")
    found = run(FakeModel(), "vqa", write(tmp_path / "data", [talk, one, drawn]), tmp_path / "out")
    assert [item["id"] for item in found.items] == [one.id]


def test_it_is_done_by_hand_from_folders(
    fused_folder: Path, asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ("--out", str(tmp_path / "out"), "--cache", str(tmp_path / "answers"))
    assert main(str(fused_folder), str(asked), "--task", "vqa", "--limit", "4", *places) == 0
    shown = capsys.readouterr().out
    for name in ("accuracy", "guess_accuracy", "beyond_guess", "accuracy of yes/no"):
        assert name in shown
