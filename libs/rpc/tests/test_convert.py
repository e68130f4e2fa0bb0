"""Artifact references keep their meaning on the wire."""

import pytest
from vermeil.artifact.v1 import artifact_pb2
from vermeil_artifacts import ArtifactRef
from vermeil_errors import InvalidInput
from vermeil_rpc.convert import artifact_from_message, artifact_to_message

REF = ArtifactRef(digest="sha256:" + "0f" * 32, kind="dataset", num_bytes=7)


def test_a_reference_survives_the_round_trip() -> None:
    assert artifact_from_message(artifact_to_message(REF)) == REF


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "0F" * 32, "md5:" + "0" * 64, "../../etc/passwd"]
)
def test_a_malformed_digest_is_refused_and_its_field_named(digest: str) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.input\.digest"):
        artifact_from_message(artifact_pb2.ArtifactRef(digest=digest), "spec.input")


def test_a_negative_size_is_refused() -> None:
    message = artifact_to_message(REF)
    message.num_bytes = -1
    with pytest.raises(InvalidInput, match="num_bytes"):
        artifact_from_message(message)
