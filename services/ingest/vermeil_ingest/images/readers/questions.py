"""Questions about pictures, as easy-VQA has them: questions.json beside a folder of images.

questions.json is [[question, answer, image id], …]; an id is the name of a picture, with its ending or
without. Where answers.txt stands beside it or above it, it names all answers there are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from vermeil_errors import InvalidInput, VermeilError
from vermeil_media import MAX_FILE_BYTES, decode_text

from vermeil_ingest.images.candidates import BadCandidate, Candidate, Found, Plan, Question, bad, grouped
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.images.splits import split_of
from vermeil_ingest.shelf import Entry, Shelf

QUESTIONS, ANSWERS = "questions.json", "answers.txt"
_IMAGES = "images"
_FIX = 'write [["is it red?", "yes", 0], …], where 0 means images/0.png'


@dataclass
class _Asked:
    entry: Entry
    questions: list[Question] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Of its picture."""
        return self.entry.id


def plan_questions(shelf: Shelf, rules: ImageRules) -> tuple[Plan, int]:
    """Every picture that something is asked about, in the order of the questions; how many files are used."""
    lists = [entry for entry in shelf.entries if entry.name == QUESTIONS]
    splits = split_of([entry.id for entry in lists])
    things: list[_Asked | BadCandidate] = []
    for entry in lists:
        things += _read_list(entry, shelf)

    def read(group: Sequence[_Asked | BadCandidate]) -> Iterator[Found]:
        for each in group:
            if isinstance(each, BadCandidate):
                yield each
                continue
            try:
                data = each.entry.read(rules.limits.max_bytes)
                yield Candidate(each.id, data, split=splits.of(each.id), questions=tuple(each.questions))
            except VermeilError as error:
                yield BadCandidate(each.id, error)

    num_asked = sum(isinstance(each, _Asked) for each in things)
    num_answers = sum(entry.name == ANSWERS for entry in shelf.entries)
    return Plan(grouped(things, read), (), splits.has_validation), num_asked + len(lists) + num_answers


def _read_list(entry: Entry, shelf: Shelf) -> list[_Asked | BadCandidate]:
    """The pictures that one file asks about, and what is wrong with its questions."""
    folder = PurePosixPath(entry.id).parent
    pictures = _pictures(folder, shelf)
    answers = _answers(folder, shelf)
    asked: dict[str, _Asked] = {}
    found: list[_Asked | BadCandidate] = []
    for number, record in enumerate(_records(entry), 1):
        name = f"{entry.id}#{number}"
        parts = _parts(record)
        if parts is None:
            found.append(bad(name, "is not [question, answer, image id]", "malformed", _FIX))
            continue
        question, answer, image = parts
        if image not in pictures:
            place = (folder / _IMAGES).as_posix()
            found.append(
                bad(name, f"asks about picture {image!r}, which is not in {place}", "missing", "add it")
            )
        elif answers and answer not in answers:
            problem = f"has the answer {answer!r}, which {ANSWERS} does not name"
            found.append(bad(name, problem, "unknown_answer", "add it there, or mend the question"))
        else:
            if image not in asked:
                asked[image] = _Asked(pictures[image])
                found.append(asked[image])
            asked[image].questions.append(Question(question, answer))
    return found


def _records(entry: Entry) -> list[object]:
    text = decode_text(entry.read(MAX_FILE_BYTES), name=entry.id).text
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"is not JSON: {error}", field=entry.id, fix=_FIX) from error
    if not isinstance(values, list):
        raise InvalidInput("is not a list of questions", field=entry.id, fix=_FIX)
    if not values:
        raise InvalidInput("has no questions", field=entry.id, fix=_FIX)
    return values


def _parts(record: object) -> tuple[str, str, str] | None:
    """Question, answer and image id; None if it is something else."""
    if not isinstance(record, list) or len(record) != 3:
        return None
    *texts, image = record
    is_id = isinstance(image, (int, str)) and not isinstance(image, bool)
    if not is_id or not all(isinstance(text, str) and text.strip() and "\0" not in text for text in texts):
        return None
    return texts[0].strip(), texts[1].strip(), str(image)


def _pictures(folder: PurePosixPath, shelf: Shelf) -> Mapping[str, Entry]:
    """Pictures by their names, with and without ending."""
    found = {}
    for entry in shelf.entries:
        path = PurePosixPath(entry.id)
        if entry.is_picture and path.parent == folder / _IMAGES:
            found[path.stem] = found[path.name] = entry
    return found


def _answers(folder: PurePosixPath, shelf: Shelf) -> frozenset[str]:
    """All answers there are, of the nearest answers.txt; empty where there is none."""
    known = {entry.id: entry for entry in shelf.entries if entry.name == ANSWERS}
    for place in (folder, *folder.parents):
        entry = known.get((place / ANSWERS).as_posix())
        if entry:
            text = decode_text(entry.read(MAX_FILE_BYTES), name=entry.id).text
            found = frozenset(line.strip() for line in text.split("\n") if line.strip())
            if not found:
                raise InvalidInput("names no answers", field=entry.id, fix="write one a line, or remove it")
            return found
    return frozenset()
