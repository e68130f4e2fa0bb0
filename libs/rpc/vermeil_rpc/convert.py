"""Wire messages that several services turn into dataclasses, and back."""

import re

from vermeil.artifact.v1 import artifact_pb2
from vermeil_artifacts import ArtifactRef
from vermeil_errors import InvalidInput

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def artifact_to_message(ref: ArtifactRef) -> artifact_pb2.ArtifactRef:
    """The wire form of an artifact reference."""
    return artifact_pb2.ArtifactRef(digest=ref.digest, kind=ref.kind, num_bytes=ref.num_bytes)


def artifact_from_message(message: artifact_pb2.ArtifactRef, field: str = "artifact") -> ArtifactRef:
    """The reference a peer sent; `field` is where it stood, for the error."""
    if not _DIGEST.fullmatch(message.digest):
        problem = "is not the digest of an artifact"
        raise InvalidInput.for_field(
            f"{field}.digest", message.digest, problem, "write sha256: and 64 hex digits"
        )
    if message.num_bytes < 0:
        raise InvalidInput.for_field(
            f"{field}.num_bytes", message.num_bytes, "is negative", "write 0 or more"
        )
    return ArtifactRef(digest=message.digest, kind=message.kind, num_bytes=message.num_bytes)
