"""Pictures to try things on, one click away: scenes of coloured shapes, as `shapes:` draws them."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "pictures"

EXAMPLES = tuple(sorted(str(path) for path in _FOLDER.glob("*.png")))
"""Files; each is named for what it shows."""


def words_of(path: str) -> str:
    """What a picture of the examples shows."""
    return Path(path).stem.replace("-", " ")
