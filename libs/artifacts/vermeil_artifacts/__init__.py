"""Immutable trees of files, content-addressed, behind one interface."""

from vermeil_artifacts.local import LocalStore
from vermeil_artifacts.manifest import ArtifactRef, FileEntry, Manifest
from vermeil_artifacts.store import ArtifactStore, Collected

__all__ = ["ArtifactRef", "ArtifactStore", "Collected", "FileEntry", "LocalStore", "Manifest"]
