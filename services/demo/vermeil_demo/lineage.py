"""Where a model comes from: its recipe, its data, and the models it was made of."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vermeil_demo.markup import card, chip, escaped, facts, figure, folded, tiles

_DEEPEST = 8
_SCALE = (("GB", 2**30), ("MB", 2**20), ("kB", 2**10))

FindVersion = Callable[[str], "Version | None"]
"""Gives a version by its full name; None for one that is gone."""


@dataclass(frozen=True)
class Version:
    """One version of a model, as its row tells."""

    name: str
    """models/{model}/versions/{version}"""
    task: str
    """What its recipe is for: text, image, fusion, dual, classifier."""
    kind: str
    """How a fused model joins its towers; empty for others."""
    parents: Mapping[str, str]
    """Names of the versions it was made of, by the part they play: text tower, image tower, began as."""
    datasets: Sequence[str]
    """Names of the dataset versions it learned from."""
    job: str
    """jobs/{job}; empty for one that was imported."""
    code_version: str
    """Of the trainer."""
    digest: str
    """Of its files."""
    num_bytes: int
    """Of its files."""
    created: str
    """When, as RFC 3339."""
    metrics: Mapping[str, float]
    """Figures of its run."""
    recipe: Mapping[str, Any]
    """As it was run."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Version":
        """Read the JSON of a vermeil.registry.v1.ModelVersion."""
        recipe = json.loads(body.get("recipe") or "{}")
        fusion, initial = recipe.get("fusion") or {}, (recipe.get("model") or {}).get("initial")
        parents = {f"{part} tower": fusion.get(part) for part in ("text", "image")} | {"began as": initial}
        artifact = body.get("artifact") or {}
        metrics = body.get("metrics") or {}
        return cls(
            name=body["name"],
            task=recipe.get("task") or "text",
            kind=fusion.get("kind", ""),
            parents={part: name for part, name in parents.items() if name},
            datasets=tuple(body.get("datasets") or ()),
            job=body.get("job", ""),
            code_version=body.get("code_version", ""),
            digest=artifact.get("digest", ""),
            num_bytes=int(artifact.get("num_bytes") or 0),
            created=body.get("create_time", ""),
            metrics={name: value for name, value in metrics.items() if isinstance(value, int | float)},
            recipe=recipe,
        )

    @property
    def label(self) -> str:
        """nano@3"""
        return short(self.name)


def described(version: Version, find: FindVersion, learned: str = "") -> str:
    """All that is known of a version; `learned` is how it came to be, as HTML."""
    rows = [
        ("Made", version.created.replace("T", " ")[:16]),
        ("By", version.job or "imported"),
        ("Code", version.code_version),
        ("Size", size(version.num_bytes)),
        ("Digest", version.digest),
    ]
    numbers = [(name.replace("_", " "), figure(value)) for name, value in sorted(version.metrics.items())]
    recipe = escaped(json.dumps(version.recipe, indent=2, ensure_ascii=False))
    return "".join(
        [
            card(version.label, facts(rows), beside=chip(_how(version))),
            card("Where it comes from", f'<ul class="vermeil-tree">{tree(version, find)}</ul>'),
            learned,
            card("Figures of its run", tiles(numbers)) if numbers else "",
            folded("Recipe", f"<pre>{recipe}</pre>"),
        ]
    )


def tree(version: Version, find: FindVersion, part: str = "", deep: int = 0) -> str:
    """A version and below it what it was made of, as items of a list."""
    role = f'<span class="part">{escaped(part)}</span> ' if part else ""
    below = [_item(short(name), "data") for name in version.datasets]
    for each, name in version.parents.items():
        parent = find(name) if deep < _DEEPEST else None
        below.append(tree(parent, find, each, deep + 1) if parent else _item(name, f"{each}, gone"))
    inner = f"<ul>{''.join(below)}</ul>" if below else ""
    how = f"<small>{escaped(_how(version))}</small>"
    return f"<li>{role}<strong>{escaped(version.label)}</strong> {how}{inner}</li>"


def size(num_bytes: int) -> str:
    """Bytes as people read them."""
    for unit, least in _SCALE:
        if num_bytes >= least:
            return f"{num_bytes / least:.1f} {unit}"
    return f"{num_bytes} bytes" if num_bytes else ""


def _how(version: Version) -> str:
    return f"{version.task} ({version.kind})" if version.kind else version.task


def short(name: str) -> str:
    """models/nano/versions/3 → nano@3"""
    return name.partition("/")[2].replace("/versions/", "@")


def _item(name: str, what: str) -> str:
    return f'<li><span class="part">{escaped(what)}</span> {escaped(name)}</li>'
