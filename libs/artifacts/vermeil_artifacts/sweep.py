"""Collection of a local store: what no manifest needs, nobody names and no living process writes.

Runs under the exclusive lock. It reads every manifest it keeps before it removes anything: if one
cannot be read, nobody knows what it needs, and nothing is removed.
"""

import time
from collections.abc import Iterator, Set
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from vermeil_artifacts.layout import Layout, remove_tree, sync_folder
from vermeil_artifacts.manifest import Manifest
from vermeil_artifacts.store import Collected


def sweep(layout: Layout, live: Set[str], older_than: timedelta) -> Collected:
    """Remove garbage; `live` holds the 64 digits of each digest that somebody names."""
    newest = time.time() - older_than.total_seconds()

    def is_old(path: Path) -> bool:
        return path.lstat().st_mtime <= newest

    manifests = {path.name: path for path in layout.manifests.iterdir()}
    doomed = {name for name, path in manifests.items() if name not in live and is_old(path)}
    needed = set(_needed_blobs(path for name, path in manifests.items() if name not in doomed))
    for name in doomed:
        manifests[name].unlink()
    sync_folder(layout.manifests)  # a power cut must not leave an artifact there without its files
    for folder in (layout.provenance, layout.trees):
        for path in folder.iterdir():
            if path.name in doomed or (path.name not in manifests and is_old(path)):
                _remove(path)
    num_blobs, num_bytes = 0, 0
    for path in layout.blobs.iterdir():
        if path.name not in needed and is_old(path):
            num_bytes += path.stat().st_size
            num_blobs += 1
            path.unlink()
    for path in layout.incoming.iterdir():
        with suppress(FileNotFoundError):  # its writer may be done at any moment
            size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
            if is_old(path) and layout.remove_if_abandoned(path):
                num_blobs += 1
                num_bytes += size
    return Collected(len(doomed), num_blobs, num_bytes)


def _needed_blobs(paths: Iterator[Path]) -> Iterator[str]:
    for path in paths:
        manifest = Manifest.from_bytes(path.read_bytes(), f"sha256:{path.name}")
        yield from (entry.sha256 for entry in manifest.files)


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_tree(path)
    else:
        path.unlink()
