"""A file of questions as an artifact, so that a job reads what was there when it was asked for."""

import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vermeil_artifacts import ArtifactRef
from vermeil_errors import InvalidInput, NotFound, PermissionDenied

from vermeil_evaluator.questions import MAX_BYTES
from vermeil_evaluator.surroundings import Surroundings

FIELD = "spec.questions"
FILE = "questions.jsonl"


def take_in(uri: str, around: Surroundings) -> ArtifactRef:
    """Publish the file; refused outside the roots."""
    path = _path(uri)
    real = path.resolve()
    if not any(real.is_relative_to(root.resolve()) for root in around.roots):
        allowed = ", ".join(map(str, around.roots))
        raise PermissionDenied(
            "is outside the folders this service reads", field=FIELD, value=uri, fix=f"allowed: {allowed}"
        )
    if not real.is_file():
        raise NotFound("no such file", field=FIELD, value=uri)
    if real.stat().st_size > MAX_BYTES:
        raise InvalidInput.for_field(FIELD, uri, "is larger than 1 GiB", "cut it up")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(real, Path(folder) / FILE)
        return around.store.publish(Path(folder), kind="questions")


def _path(uri: str) -> Path:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)
    if not path.is_absolute():
        raise InvalidInput.for_field(FIELD, uri, "is not an absolute path", "write /data/questions.jsonl")
    return path
