"""Splits that a source has by itself, in the names of its folders or files."""

from collections.abc import Sequence
from dataclasses import dataclass

_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}


@dataclass(frozen=True)
class FolderSplits:
    """How the first folder of a path divides a source."""

    names: tuple[str, ...]
    """Folders that are splits; none if the source is not divided."""

    def of(self, path: str) -> str:
        """The split of a path; empty where its hash is to decide, as for training without validation."""
        if not self.names:
            return ""
        return resolved(_NAMES[path.split("/", maxsplit=1)[0]], has_validation=self.has_validation)

    def rest(self, path: str) -> str:
        """The path within its split."""
        return path.partition("/")[2] if self.names else path

    @property
    def has_validation(self) -> bool:
        """Whether one of them is for validation."""
        return any(_NAMES[name] == "validation" for name in self.names)


def split_of(paths: Sequence[str]) -> FolderSplits:
    """Divided if every path begins with the name of a split, and there are two of them."""
    firsts = {path.split("/")[0] for path in paths if "/" in path}
    divided = len(firsts) > 1 and firsts <= _NAMES.keys() and all("/" in path for path in paths)
    return FolderSplits(tuple(sorted(firsts)) if divided else ())


def named_split(words: Sequence[str]) -> str:
    """The split that one of the words means, if any."""
    return next((_NAMES[word] for word in words if word in _NAMES), "")


def resolved(split: str, *, has_validation: bool) -> str:
    """Training data are divided further where the source has nothing for validation."""
    return "" if split == "train" and not has_validation else split
