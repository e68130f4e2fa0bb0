"""Files that commands read and write for people: pictures."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from vermeil_errors import InvalidInput, NotFound


def picture_file(path: Path) -> bytes:
    """The file of a picture."""
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise NotFound(f"no picture can be read at {path}: {error.strerror}") from error


def check_folder(folder: Path) -> None:
    """Refuse a folder that is none, before anything is asked."""
    if not folder.is_dir():
        raise InvalidInput.for_field("--output", str(folder), "is no folder", "make it first")


def new_files(folder: Path, model: str) -> Iterator[Path]:
    """Paths that nothing has yet, named after the model: vermeil-nano-1.png, vermeil-nano-2.png, …"""
    for number in count(1):
        path = folder / f"{file_name(model)}-{number}.png"
        if not path.exists():
            yield path


def file_name(model: str) -> str:
    """The name of a model or a dataset as part of a file's."""
    return (
        model.removeprefix("models/").removeprefix("datasets/").replace("/versions/", "-").replace("@", "-")
    )
