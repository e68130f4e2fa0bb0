"""Pictures of which something is told, as items: captions, or a question with its answers.

They come from a raw dataset, in its order; a model sees them in its own size. Items of one picture are one
piece of evidence.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from vermeil_data import Dataset, ImageEncoding, Sample, Segment, open_dataset
from vermeil_data.pictures import CLASS
from vermeil_data.sample import Role
from vermeil_errors import InvalidInput
from vermeil_metrics import answer_type

from vermeil_evaluator.documents import check_split, split_sha256
from vermeil_evaluator.item import Item
from vermeil_evaluator.models.model import PictureSize
from vermeil_evaluator.pictures import png
from vermeil_evaluator.task import Material

QUESTION_TYPE = "question_type"
"""Metadata of a sample: what the dataset calls questions of its sort."""

Told = Mapping[str, Any]
Tell = Callable[[Sample], Told | None]
"""What a sample says of its pictures; None where it says nothing of the sort that is wanted."""
Add = Callable[[Sample, Told], Told]
"""What is added to it, from what other samples say."""
_OTHER: Mapping[Role, Role] = {"given": "target", "target": "given"}


class ToldPictures:
    """Items with the "pictures" of a sample as files, and what is told of them."""

    def __init__(
        self,
        material: Material,
        tell: Tell,
        wanted: str,
        *,
        learn: Callable[[Dataset], Add] | None = None,
        learn_from: str = "",
    ) -> None:
        """`wanted` is what samples must have, in words; `learn` looks at the whole dataset first.

        `learn_from` names the split that it looks at, if it is another one.
        """
        self._dataset = dataset = open_dataset(material.data)
        self._split, self._tell, self._size = material.split, tell, material.model.picture_size
        check_split(dataset.card, self._split)
        splits = dict.fromkeys((self._split, learn_from))
        shards = (split_sha256(dataset.card, name) for name in splits if name in dataset.card.splits)
        self._sha256 = sha256("\n".join(shards).encode()).hexdigest()
        self._places: list[int] = []
        for place, sample in enumerate(dataset.split(self._split)):
            if tell(sample) is not None:
                self._places.append(place)
                if len(self._places) == material.limit:
                    break
        if not self._places:
            raise InvalidInput.for_field(
                "spec.dataset",
                dataset.card.name,
                f"has no samples with {wanted} in its split {self._split!r}",
                "name another dataset or split",
            )
        self._add: Add = learn(dataset) if learn else (lambda _sample, _told: {})

    @property
    def sha256(self) -> str:
        """Of the splits that numbers depend on."""
        return self._sha256

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Item]:
        seen = lru_cache(maxsize=8)(lambda file: _seen(file, self._size))
        samples = self._dataset.split(self._split)
        for place in self._places:
            sample = samples[place]
            told = self._tell(sample)
            assert told is not None
            files = [segment.data or b"" for segment in sample.segments if segment.modality == "image"]
            pictures = tuple(seen(file) for file in files)
            group = sha256(b"".join(files)).hexdigest()[:16]
            yield Item(sample.id, {"pictures": pictures, **told, **self._add(sample, told)}, group)


def picture_of(sample: Sample) -> Told | None:
    """Nothing, of whatever has a picture."""
    return {} if _pictures(sample) else None


def captions_of(sample: Sample) -> Told | None:
    """All "captions" of one picture, or else the name of its class; and its "class", which may be empty."""
    texts, pictures = _texts(sample), _pictures(sample)
    if len(pictures) != 1 or (sample.segments[0] not in pictures and sample.segments[-1] not in pictures):
        return None
    if {each.role for each in texts} - {_OTHER[pictures[0].role]}:
        return None
    name = sample.metadata.get(CLASS, "")
    captions = [each.text for each in texts if each.text] or ([name] if name else [])
    return {"captions": captions, "class": name} if captions else None


def question_of(sample: Sample) -> Told | None:
    """The "question" about a picture, the "answers" that count as right, and the "type" of the question.

    The type is what the dataset calls it (metadata "question_type"), or else the sort of its answer.
    """
    texts, pictures = _texts(sample), _pictures(sample)
    roles = [each.role for each in texts]
    if not pictures or any(each.role == "target" for each in pictures):
        return None
    if len(roles) < 2 or roles != ["given", *["target"] * (len(roles) - 1)]:
        return None
    question, *answers = [each.text or "" for each in texts]
    told = sample.metadata.get(QUESTION_TYPE) or answer_type(answers)
    return {"question": question, "answers": answers, "type": told}


def _texts(sample: Sample) -> list[Segment]:
    return [segment for segment in sample.segments if segment.modality == "text"]


def _pictures(sample: Sample) -> list[Segment]:
    return [segment for segment in sample.segments if segment.modality == "image"]


def _seen(file: bytes, size: PictureSize | None) -> bytes:
    """A picture as a model of this size sees it, as PNG; as it is where the model takes any."""
    if size is None:
        return file
    form = ImageEncoding(size.height, size.width, size.channels, size.fit)  # type: ignore[arg-type]
    return png(form.pixels(file, "picture"))
