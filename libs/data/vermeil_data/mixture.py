"""A mixture: which encoded samples are read for which tasks, and how often each. Knows no batches.

sources: {plays: texts, emoji: emoji, questions: easy-vqa}
tasks:
  - {kind: language-modelling, source: plays, weight: 1, window: 64}
  - {kind: vqa, source: questions, weight: 3}
"""

import difflib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from vermeil_errors import InvalidInput, NotFound

TaskKind = Literal[
    "language-modelling", "image-modelling", "captioning", "vqa", "text-to-image", "interleaved"
]
UNASKED = ("language-modelling", "image-modelling")
"""Kinds in which nobody asks for anything."""
Style = Literal["document", "chat"]
"""How a sample is spelled: one text from <bos> to <eos>, or turns of a user and an assistant."""


@dataclass(frozen=True)
class MixtureTask:
    """What is learned from one source."""

    kind: TaskKind
    source: str
    """A name under `sources`."""
    weight: float | None = None
    """Its part of all samples, over the sum of the weights; given by all tasks or by none."""
    style: Style | None = None
    """None means chat for vqa and document for the others."""
    window: int | None = None
    """Most tokens of a piece of a long text; for language modelling; None means all text slots of a row."""
    name: str = ""
    """What the log calls it; left out it is "kind/source"."""

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, get_args(TaskKind))
        _text("source", self.source)
        if self.weight is not None and not (_is_number(self.weight) and 0 < self.weight < math.inf):
            raise InvalidInput.for_field("weight", self.weight, "is no share", "give a number above 0")
        if self.window is not None and self.kind != "language-modelling":
            problem = f"means nothing for {self.kind}: its samples are not cut into windows"
            raise InvalidInput.for_field("window", self.window, problem, "leave it out")
        if self.window is not None and not (_is_whole(self.window) and self.window >= 2):
            raise InvalidInput.for_field("window", self.window, "is no number of tokens", "give 2 or more")
        if self.style is not None:
            _one_of("style", self.style, get_args(Style))
        if self.style == "chat" and self.kind in UNASKED:
            problem = f"means nothing for {self.kind}: nobody is asked"
            raise InvalidInput.for_field("style", self.style, problem, "leave it out")
        if not isinstance(self.name, str):
            raise InvalidInput.for_field("name", self.name, "is no text", "leave it out")
        object.__setattr__(self, "name", self.name or f"{self.kind}/{self.source}")
        object.__setattr__(self, "style", self.style or ("chat" if self.kind == "vqa" else "document"))


@dataclass(frozen=True)
class Mixture:
    """Sources and tasks, checked against each other."""

    sources: Mapping[str, str]
    """Names → where the encoded samples lie: folders, or names that somebody else makes folders of."""
    tasks: tuple[MixtureTask, ...]
    temperature: float = 1.0
    """Where no weights are given, a task of n samples weighs n^(1 / temperature): 1 takes them as they
    come, large values take all tasks equally often."""
    samples_per_conversation: int = 1
    """Samples in chat style are told one after the other, in conversations of 1 to so many; questions on
    one picture become turns that show it once."""

    def __post_init__(self) -> None:
        _check_sources(self.sources)
        if not self.tasks:
            raise InvalidInput("has no tasks", field="tasks", fix="name at least one task and its source")
        for index, task in enumerate(self.tasks):
            if task.source not in self.sources:
                fix = f"name one of {', '.join(self.sources)}, or add it under sources"
                raise InvalidInput.for_field(f"tasks[{index}].source", task.source, "is not a source", fix)
            if task.name in [other.name for other in self.tasks[:index]]:
                fix = "give one of the two another name"
                raise InvalidInput.for_field(f"tasks[{index}].name", task.name, "names two tasks", fix)
        for name in self.sources:
            if name not in [task.source for task in self.tasks]:
                raise InvalidInput("is read by no task", field=f"sources.{name}", fix="leave it out")
        if not (_is_number(self.temperature) and 0 < self.temperature < math.inf):
            fix = "give a number above 0"
            raise InvalidInput.for_field("temperature", self.temperature, "is no temperature", fix)
        self._check_conversations()
        weighted = [task.weight is not None for task in self.tasks]
        if any(weighted) and not all(weighted):
            index = weighted.index(False)
            fix = "give every task a weight, or none"
            raise InvalidInput(
                "is missing, while other tasks have one", field=f"tasks[{index}].weight", fix=fix
            )
        if any(weighted) and self.temperature != 1:
            problem = "means nothing where tasks have weights"
            raise InvalidInput.for_field("temperature", self.temperature, problem, "leave out one of the two")

    def _check_conversations(self) -> None:
        field, most = "samples_per_conversation", self.samples_per_conversation
        if not (_is_whole(most) and most >= 1):
            raise InvalidInput.for_field(field, most, "is no number of samples", "give 1 or more")
        if most > 1 and not any(task.style == "chat" for task in self.tasks):
            fix = "give a task `style: chat`, or leave it out"
            raise InvalidInput.for_field(field, most, "means nothing where no task is in chat style", fix)

    def shares(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """The part of all samples that each task gets, by how many samples each has in an epoch."""
        weights = [
            float(size) ** (1 / self.temperature) if task.weight is None else float(task.weight)
            for task, size in zip(self.tasks, sizes, strict=True)
        ]
        return tuple(weight / sum(weights) for weight in weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, everything left out filled in."""
        values: dict[str, Any] = json.loads(json.dumps({**asdict(self), "sources": dict(self.sources)}))
        return values

    @classmethod
    def from_dict(cls, values: object) -> "Mixture":
        """From what YAML or JSON say."""
        found = _fields(values, "", cls)
        tasks = found.get("tasks", [])
        if not isinstance(tasks, list | tuple):
            raise InvalidInput("is no list", field="tasks", fix="begin every task with a dash")
        return cls(
            **{
                **found,
                "sources": found.get("sources", {}),
                "tasks": tuple(map(_task, range(len(tasks)), tasks)),
            }
        )


def read_mixture(path: Path) -> Mixture:
    """The mixture in a YAML file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"no mixture can be read: {error.strerror}", field=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"is not YAML: {error}", field=str(path)) from error
    return Mixture.from_dict(values)


def _task(index: int, values: object) -> MixtureTask:
    at = f"tasks[{index}]."
    found = _fields(values, at, MixtureTask)
    for name in ("kind", "source"):
        if name not in found:
            raise InvalidInput("is missing", field=at + name, fix=f"write `{name}:`")
    try:
        return MixtureTask(**found)
    except InvalidInput as error:
        raise InvalidInput(
            error.message, field=f"{at}{error.field}", value=error.value, fix=error.fix
        ) from error


def _fields(values: object, at: str, record: type[Any]) -> dict[str, Any]:
    """The fields of a record that a mapping gives; unknown ones are refused."""
    where = at.removesuffix(".") or "mixture"
    if not isinstance(values, Mapping):
        raise InvalidInput("is no group of fields", field=where, fix="write fields such as `name: value`")
    known = [each.name for each in fields(record)]
    for name in values:
        if name not in known:
            raise InvalidInput("is unknown", field=f"{at}{name}", fix=_meant(str(name), known))
    return dict(values)


def _check_sources(sources: object) -> None:
    if not isinstance(sources, Mapping) or not sources:
        raise InvalidInput("names no encoded samples", field="sources", fix="write `name: folder`")
    for name, folder in sources.items():
        _text("sources", name)
        _text(f"sources.{name}", folder)


def _one_of(field: str, value: object, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise InvalidInput.for_field(field, value, "is unknown", _meant(str(value), allowed))


def _text(field: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidInput.for_field(field, value, "is no name", "write a text that is not empty")


def _meant(word: str, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(word, allowed, 1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(allowed)}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
