"""Immutable trees of files, content-addressed, behind one interface."""

from vermeil_artifacts.cache import used_within
from vermeil_artifacts.local import LocalStore
from vermeil_artifacts.manifest import ArtifactRef, FileEntry, Manifest
from vermeil_artifacts.memory import MemoryStore
from vermeil_artifacts.opening import await_store, open_store, store_from_settings
from vermeil_artifacts.store import ArtifactStore, Collected

__all__ = [
    "ArtifactRef",
    "ArtifactStore",
    "Collected",
    "FileEntry",
    "LocalStore",
    "Manifest",
    "MemoryStore",
    "await_store",
    "open_store",
    "store_from_settings",
    "used_within",
]
