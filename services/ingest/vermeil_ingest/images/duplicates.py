"""Tells pictures that were seen before: exactly, by their bytes, or nearly, by how they look.

Near ones are found without comparing all with all: hashes that differ in at most d bits agree in one of
d + 1 bands.
"""

import hashlib

from vermeil_media import hamming

from vermeil_ingest.images.facts import Facts

_BITS = 64
_MAX_COLOUR_DIFFERENCE = 24
"""Of 255, in any of the 4 × 4 × 3 values of the miniatures of two pictures that count as one."""


class Duplicates:
    """Pictures seen so far, of each split apart: 32 bytes a picture, and its hash where near ones count."""

    def __init__(self, near: int | None) -> None:
        self._near = near
        self._exact: dict[bytes, set[str]] = {}
        self._hashes: list[tuple[int, bytes, str]] = []
        self._bands: list[dict[int, list[int]]] = [{} for _ in range((near or 0) + 1)]

    def exact(self, data: bytes, split: str) -> tuple[bool, bool]:
        """Whether the split has this very picture already, and whether another one has; remembers it."""
        splits = self._exact.setdefault(hashlib.sha256(data).digest(), set())
        result = split in splits, bool(splits - {split})
        splits.add(split)
        return result

    def near(self, facts: Facts, split: str) -> bool:
        """Whether the split has one that looks the same; remembers it if not."""
        if self._near is None or facts.hash is None or facts.colours is None:
            return False
        colours = bytes.fromhex(facts.colours)
        keys = [self._key(facts.hash, band) for band in range(len(self._bands))]
        for band, key in zip(self._bands, keys, strict=True):
            for place in band.get(key, ()):
                other, other_colours, other_split = self._hashes[place]
                if (
                    other_split == split
                    and hamming(other, facts.hash) <= self._near
                    and _alike(colours, other_colours)
                ):
                    return True
        for band, key in zip(self._bands, keys, strict=True):
            band.setdefault(key, []).append(len(self._hashes))
        self._hashes.append((facts.hash, colours, split))
        return False

    def _key(self, value: int, band: int) -> int:
        low, high = (_BITS * each // len(self._bands) for each in (band, band + 1))
        return value >> low & ((1 << (high - low)) - 1)


def _alike(one: bytes, two: bytes) -> bool:
    return all(abs(a - b) <= _MAX_COLOUR_DIFFERENCE for a, b in zip(one, two, strict=True))
