"""What was seen in one shard, as files between two jobs: a dataset of its own, facts and problems in it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from vermeil_data import DatasetWriter, Sample, open_dataset
from vermeil_errors import InvalidInput, catalogue

from vermeil_ingest.images.candidates import BadCandidate, Candidate, Question
from vermeil_ingest.images.facts import Facts
from vermeil_ingest.images.look import Seen

_SPLIT, _FACTS, _ABOUT, _ERROR = "seen", "facts", "about", "error"


def write_shard(folder: Path, seen: Iterator[Seen], name: str) -> int:
    """Write all of it; how many."""
    count = 0
    with DatasetWriter(folder) as writer:
        for each in seen:
            writer.add(_SPLIT, _to_sample(each))
            count += 1
        writer.finish(name)
    return count


def read_shard(folder: Path) -> Iterator[Seen]:
    """What was written, in order."""
    dataset = open_dataset(folder)
    if _SPLIT in dataset.card.splits:
        for sample in dataset.split(_SPLIT):
            yield _from_sample(sample)


def _to_sample(seen: Seen) -> Sample:
    if isinstance(seen, BadCandidate):
        error = seen.error
        problem = {
            "reason": error.reason,
            "message": error.message,
            "field": error.field,
            "fix": error.fix,
            "metadata": error.metadata,
        }
        return Sample((), seen.id, {_ERROR: json.dumps(problem)})
    candidate, facts = seen
    about = {
        "class_name": candidate.class_name,
        "class_number": candidate.class_number,
        "split": candidate.split,
        "metadata": dict(candidate.metadata),
        "questions": candidate.questions,
    }
    metadata = {_FACTS: json.dumps(asdict(facts)), _ABOUT: json.dumps(about)}
    return Sample.of_image(
        candidate.data, facts.media_type, candidate.captions, id=candidate.id, metadata=metadata
    )


def _from_sample(sample: Sample) -> Seen:
    if _ERROR in sample.metadata:
        problem = json.loads(sample.metadata[_ERROR])
        kind = catalogue().get(problem.pop("reason"), InvalidInput)
        return BadCandidate(sample.id, kind(problem.pop("message"), **problem))
    *given, picture = sample.segments
    about = json.loads(sample.metadata[_ABOUT])
    about["questions"] = tuple(Question(*each) for each in about["questions"])
    captions = tuple(segment.text or "" for segment in given)
    candidate = Candidate(sample.id, picture.data or b"", captions, **about)
    return candidate, Facts(**json.loads(sample.metadata[_FACTS]))
