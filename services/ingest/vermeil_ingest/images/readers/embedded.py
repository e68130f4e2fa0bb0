"""Sources that need no files: `digits:` and `shapes:?count=5000&seed=0&side=32&questions=0`."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from vermeil_data import Sample
from vermeil_data.digits import digit_samples
from vermeil_data.shapes import Scene, questions, shape_samples
from vermeil_errors import InvalidInput

from vermeil_ingest.images.candidates import Candidate, Found, Plan, Question, Unit

SCHEMES = ("digits", "shapes")
_DEFAULTS = {"count": 5000, "seed": 0, "side": 32, "questions": 0}
_LIMITS = {"count": (1, 10_000_000), "seed": (0, 2**31), "side": (24, 1024), "questions": (0, 1)}
_A_UNIT = 1000


def plan_embedded(uri: str) -> Plan:
    """The pictures that a URI means."""
    parts = urlsplit(uri)
    options = _options(uri)
    if parts.scheme == "digits":
        return Plan((Unit("digits", 1797, _digits),), tuple("0123456789"))
    units = []
    for start in range(0, options["count"], _A_UNIT):
        size = min(_A_UNIT, options["count"] - start)
        units.append(Unit(f"shapes#{start + 1}", size, partial(_shapes, start, size, options)))
    return Plan(tuple(units))


def check_embedded(uri: str) -> None:
    """Refuse what the URI asks for in vain."""
    _options(uri)


def _options(uri: str) -> dict[str, int]:
    parts = urlsplit(uri)
    options = dict(_DEFAULTS)
    if parts.path.strip("/") or parts.netloc:
        raise InvalidInput.for_field("uri", uri, "is more than a name", f"write {parts.scheme}:")
    known = _DEFAULTS if parts.scheme == "shapes" else {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            fix = f"known are {', '.join(known)}" if known else "it takes none"
            raise InvalidInput.for_field("uri", uri, f"has an unknown option {name!r}", fix)
        low, high = _LIMITS[name]
        if not value.isdecimal() or not low <= int(value) <= high:
            raise InvalidInput.for_field("uri", uri, f"{name} must be {low} to {high}")
        options[name] = int(value)
    return options


def _digits() -> Iterator[Found]:
    for sample in digit_samples():
        yield _candidate(sample)


def _shapes(start: int, size: int, options: dict[str, int]) -> Iterator[Found]:
    """With questions=1 pictures come with what is asked about them in place of captions."""
    seed = options["seed"]
    for number, sample in enumerate(shape_samples(size, seed, options["side"], start=start), start):
        candidate = _candidate(sample)
        if options["questions"]:
            scene = Scene.from_text(sample.metadata["scene"])
            asked = (Question(*astuple(each)) for each in questions(scene, seed, number))
            candidate = replace(candidate, captions=(), questions=tuple(asked))
        yield candidate


def _candidate(sample: Sample) -> Candidate:
    *given, picture = sample.segments
    metadata = dict(sample.metadata)
    number = metadata.pop("class_number", None)
    return Candidate(
        sample.id,
        picture.data or b"",
        tuple(segment.text or "" for segment in given),
        metadata.pop("class", None),
        int(number) if number is not None else None,
        metadata=metadata,
        is_ours=True,
    )
