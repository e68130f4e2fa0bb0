"""Errors cross the wire whole, and foreign statuses make sense."""

from typing import Any

import grpc
import pytest
from vermeil_errors import (
    Conflict,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    TooLarge,
    Unavailable,
    Unimplemented,
    VermeilError,
    Violation,
    catalogue,
)
from vermeil_rpc.status import DETAILS_KEY, decode, encode


class Failed(grpc.RpcError):
    """A call that ended as a test says."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, Any], ...] = ()
    ) -> None:
        super().__init__()
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def _over_the_wire(error: VermeilError) -> VermeilError:
    status = encode(error, "r1")
    trailers = ((DETAILS_KEY, status.SerializeToString()),)
    return decode(Failed(grpc.StatusCode[error.grpc_status], status.message, trailers), "host:1")


@pytest.mark.parametrize("cls", [cls for cls in catalogue().values() if cls.public])
def test_every_public_error_arrives_as_it_left(cls: type[VermeilError]) -> None:
    error = cls("said so", violations=[Violation("a.b", "is wrong")], metadata={"job": "jobs/1"})
    back = _over_the_wire(error)
    assert type(back) is cls
    assert str(back) == "said so"
    assert back.violations == (Violation("a.b", "is wrong"),)
    assert back.metadata == {"job": "jobs/1", "request_id": "r1"}


def test_an_internal_error_arrives_without_its_text_but_with_the_request() -> None:
    back = _over_the_wire(Internal("password is hunter2", metadata={"query": "hunter2"}))
    assert type(back) is Internal
    assert str(back) == "internal error; request r1 has the details in the log"
    assert "hunter2" not in repr(back.metadata)


def test_endless_texts_are_clipped_to_what_trailers_carry() -> None:
    violations = [Violation("f" * 5000, "d" * 5000) for _ in range(500)]
    status = encode(InvalidInput("m" * 100_000, violations=violations, metadata={"k": "v" * 9000}), "r1")
    assert len(status.SerializeToString()) < 8000


@pytest.mark.parametrize("letter", ["x", "é", "字", "😀"])
def test_texts_of_any_alphabet_are_clipped_to_what_trailers_carry(letter: str) -> None:
    long = letter * 2000
    error = InvalidInput(long, violations=[Violation(long, long)] * 50)
    assert len(encode(error, "r1").SerializeToString()) < 8 * 2**10
    seen = _over_the_wire(error)
    assert seen.message.startswith(letter * 200)
    assert seen.message.endswith("…")


def test_half_a_surrogate_pair_does_not_keep_an_error_from_arriving() -> None:
    seen = _over_the_wire(InvalidInput("no such field: \ud83d", field="half \ud83d"))
    assert "no such field: \\ud83d" in seen.message
    assert seen.violations[0].field == "half \\ud83d"


@pytest.mark.parametrize(
    ("code", "details", "expected", "says"),
    [
        (grpc.StatusCode.UNAVAILABLE, "refused", Unavailable, "host:1 cannot be reached"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", DeadlineExceeded, "did not answer within the time given"),
        (grpc.StatusCode.UNIMPLEMENTED, "no method", Unimplemented, "does not know this call"),
        (grpc.StatusCode.NOT_FOUND, "gone", NotFound, "gone"),
        (grpc.StatusCode.FAILED_PRECONDITION, "", Conflict, "FAILED_PRECONDITION"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (5000000 vs. 4194304)",
            TooLarge,
            "a received message of 5,000,000 bytes is over the limit of 4,194,304",
        ),
    ],
)
def test_a_bare_status_becomes_a_clear_error(
    code: grpc.StatusCode, details: str, expected: type[VermeilError], says: str
) -> None:
    error = decode(Failed(code, details), "host:1")
    assert type(error) is expected
    assert says in str(error)


def test_a_peer_that_has_a_name_is_called_by_it_and_its_address_stays_inside() -> None:
    for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        said = str(decode(Failed(code, "connect to unix:/tmp/x: refused"), "unix:/tmp/x", "the generator"))
        assert said.startswith("the generator ")
        assert "/tmp" not in said


def test_a_rich_status_of_another_domain_goes_by_its_code() -> None:
    status = encode(NotFound("gone"), "r1")
    status.details[0].value = status.details[0].value.replace(b"vermeil", b"someone")
    trailers = ((DETAILS_KEY, status.SerializeToString()),)
    assert type(decode(Failed(grpc.StatusCode.NOT_FOUND, "gone", trailers), "host:1")) is NotFound
