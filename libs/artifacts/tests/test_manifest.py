"""Names from outside never become paths elsewhere, and the digest is a function of content."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vermeil_artifacts import ArtifactRef, FileEntry, Manifest
from vermeil_artifacts.manifest import check_path
from vermeil_errors import DataCorrupted, InvalidInput

SHA256 = hashlib.sha256(b"x").hexdigest()
NAMES = st.text("abcdefgh.-é漢", min_size=1, max_size=8).filter(lambda name: name not in {".", ".."})


def entry(path: str) -> FileEntry:
    return FileEntry(path, SHA256, 1)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "../up",
        "a/../../b",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        "nul\0",
        "line\nbreak",
        "x" * 256,
        "é" * 128,
        "a/" * 600 + "a",
        "\udcff",
    ],
)
def test_a_path_that_could_leave_its_folder_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="path"):
        entry(path)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_ordinary_names_are_paths(parts: list[str]) -> None:
    check_path("/".join(parts))


@given(st.sets(NAMES, min_size=1, max_size=6), st.dictionaries(NAMES, NAMES), st.randoms())
def test_the_digest_does_not_depend_on_order(
    names: set[str], metadata: dict[str, str], random: object
) -> None:
    entries = [entry(name) for name in sorted(names)]
    one = Manifest("dataset", tuple(entries), metadata)
    other = Manifest("dataset", tuple(reversed(entries)), dict(reversed(metadata.items())))
    assert one.digest == other.digest
    assert Manifest.from_bytes(one.to_bytes(), one.digest) == one


def test_the_digest_is_the_sha256_of_canonical_json() -> None:
    manifest = Manifest("model", (entry("é"),), {"b": "2", "a": "1"})
    expected = (
        '{"files":[{"num_bytes":1,"path":"é","sha256":"' + SHA256 + '"}],"format_version":1,"kind":"model",'
        '"metadata":{"a":"1","b":"2"}}'
    )
    assert manifest.to_bytes().decode() == expected
    assert manifest.digest == f"sha256:{hashlib.sha256(expected.encode()).hexdigest()}"


def test_a_manifest_under_another_digest_is_refused() -> None:
    with pytest.raises(DataCorrupted, match="manifest"):
        Manifest.from_bytes(Manifest("model", (entry("a"),)).to_bytes(), f"sha256:{'0' * 64}")


def test_a_manifest_of_a_later_version_is_refused_with_advice() -> None:
    document = json.loads(Manifest("model", (entry("a"),)).to_bytes()) | {"format_version": 2}
    data = json.dumps(document).encode()
    with pytest.raises(InvalidInput, match="version of Vermeil that wrote it"):
        Manifest.from_bytes(data, f"sha256:{hashlib.sha256(data).hexdigest()}")


def test_overlapping_paths_are_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        Manifest("model", (entry("a"), entry("a")))
    with pytest.raises(InvalidInput, match="below another file"):
        Manifest("model", (entry("a"), entry("a/b/c")))


def test_references_check_themselves() -> None:
    with pytest.raises(InvalidInput, match="digest"):
        ArtifactRef("abc", "model", 1)
    with pytest.raises(InvalidInput, match="num_bytes"):
        ArtifactRef(f"sha256:{SHA256}", "model", -1)
    with pytest.raises(InvalidInput, match="sha256"):
        FileEntry("a", "abc", 1)


def test_metadata_must_be_text() -> None:
    with pytest.raises(InvalidInput, match=r"metadata\.depth"):
        Manifest("model", (entry("a"),), {"depth": 2})  # type: ignore[dict-item]
