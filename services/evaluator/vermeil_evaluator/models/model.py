"""What a model is to a task: something that answers requests, a batch at a time. Knows no network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol, TypeVar

from vermeil_errors import InvalidInput

from vermeil_evaluator.requests import Answer, Request

Check = Callable[[], None]
"""Called between steps; may raise to stop."""
RequestType = TypeVar("RequestType", bound=Request)


class PictureSize(NamedTuple):
    """Of the pictures that a model draws or looks at."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    channels: int
    """1 grey, 3 RGB, 4 RGBA."""
    fit: str = "crop"
    """What was done with pictures of another shape: crop, pad or stretch."""

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.channels}"


class Model(Protocol):
    """Something that answers."""

    @property
    def digest(self) -> str:
        """Of everything its answers depend on; equal digests give equal answers."""
        ...

    @property
    def about(self) -> str:
        """A line for people: what it is and what it can do."""
        ...

    @property
    def condition(self) -> str:
        """What its pictures are asked for by: class, text, or none."""
        ...

    @property
    def class_names(self) -> Sequence[str]:
        """Of classes it draws or tells apart, by class id; empty for none."""
        ...

    @property
    def picture_size(self) -> PictureSize | None:
        """Of pictures it draws or looks at; None where it has to do with none, or takes any."""
        ...

    @property
    def space(self) -> str:
        """What its features are good for: small or inception, to compare sets of pictures in; shared by
        pictures and texts; empty where it has none."""
        ...

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """Batches of answers, together in the order of the requests, which are read as they are needed.

        How requests are batched depends on them and those before them alone, and nothing is loaded
        before the first of them. A kind of request that this model does not answer is refused.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without asking the network."""
        ...

    def reads(self, tokenizer: bytes) -> bool:
        """Whether this tokenizer.json is its own."""
        ...


def in_runs(
    requests: Iterable[Request], most: int, check: Check, known: type[RequestType], who: str
) -> Iterator[list[RequestType]]:
    """Requests in order, up to `most` at a time, all of one kind."""
    run: list[RequestType] = []
    for request in requests:
        if not isinstance(request, known):
            raise cannot(who, request)
        run.append(request)
        if len(run) == most:
            yield run
            check()
            run = []
    if run:
        yield run


def alike(requests: Iterable[Request]) -> Iterator[tuple[type[Request], Iterator[Request]]]:
    """Neighbours of the same kind together."""
    return groupby(requests, key=type)


def cannot(who: str, request: Request) -> InvalidInput:
    """The error for a request of a kind that a model does not answer."""
    name = type(request).__name__
    return InvalidInput.for_field(
        "spec.model", who, f"does not answer {name}: it {_CANNOT[name]}", "choose another task or model"
    )


_CANNOT = {
    "Loglikelihood": "judges no texts",
    "GenerateUntil": "writes no text",
    "SampleImage": "draws no pictures",
    "ImageLoss": "draws no pictures",
    "Embed": "has no space that texts or pictures lie in",
}
