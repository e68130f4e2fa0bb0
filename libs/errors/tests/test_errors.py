"""What callers and boundaries may rely on."""

import errno
import pickle

import pytest
import vermeil_errors
from vermeil_errors import (
    Conflict,
    Internal,
    InvalidInput,
    NotFound,
    OutOfSpace,
    StaleFence,
    TooLarge,
    Unimplemented,
    VermeilError,
    Violation,
    catalogue,
    class_for_grpc_status,
    from_exception,
    from_reason,
)

ALL = sorted(catalogue().values(), key=lambda cls: cls.__name__)


def test_every_exported_class_is_in_the_catalogue_once() -> None:
    exported = {
        thing
        for thing in vars(vermeil_errors).values()
        if isinstance(thing, type) and issubclass(thing, VermeilError) and thing is not VermeilError
    }
    assert exported == set(catalogue().values())


@pytest.mark.parametrize("cls", ALL)
def test_every_class_says_how_each_boundary_shows_it(cls: type[VermeilError]) -> None:
    assert cls.reason == cls.reason.upper()
    assert cls.grpc_status == cls.grpc_status.upper()
    assert 400 <= cls.http_status < 600
    assert 0 < cls.exit_code < 256
    assert cls.__doc__


def test_the_sentence_names_the_field_the_value_and_the_fix() -> None:
    error = InvalidInput.for_field("model.num_heads", 7, "must divide the width 384", "choose 6 or 8")
    assert str(error) == "model.num_heads = 7: must divide the width 384; choose 6 or 8"


def test_a_plain_message_stays_as_it_is() -> None:
    assert str(NotFound("models/nano does not exist")) == "models/nano does not exist"


def test_a_huge_value_is_shortened() -> None:
    assert len(str(InvalidInput.for_field("text", "x" * 100_000, "is too long"))) < 200


def test_a_field_becomes_a_violation_when_none_is_given() -> None:
    error = InvalidInput.for_field("seed", -1, "must be positive", "use 0 or more")
    assert error.violations == (Violation("seed", "-1: must be positive; use 0 or more"),)


@pytest.mark.parametrize("cls", ALL)
def test_an_error_crosses_a_boundary_by_its_reason(cls: type[VermeilError]) -> None:
    violations = (Violation("a.b", "is wrong"),)
    back = from_reason(cls.reason, "said so", violations, {"job": "jobs/1"})
    assert type(back) is cls
    assert (str(back), back.violations, back.metadata) == ("said so", violations, {"job": "jobs/1"})


def test_an_unknown_reason_from_a_newer_peer_is_internal() -> None:
    assert type(from_reason("INVENTED_LATER", "?")) is Internal


def test_a_bare_grpc_status_finds_the_most_general_class() -> None:
    assert class_for_grpc_status("FAILED_PRECONDITION") is Conflict
    assert class_for_grpc_status("ABORTED") is StaleFence
    assert class_for_grpc_status("RESOURCE_EXHAUSTED") is TooLarge
    assert class_for_grpc_status("OUT_OF_RANGE") is InvalidInput
    assert class_for_grpc_status("UNIMPLEMENTED") is Unimplemented
    assert class_for_grpc_status("UNKNOWN") is Internal


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_out_of_space_and_names_the_file(code: int) -> None:
    error = from_exception(OSError(code, "full", "/data/shard"))
    assert type(error) is OutOfSpace
    assert "/data/shard" in str(error)
    assert "free some space" in str(error)


def test_a_foreign_exception_is_internal_and_keeps_its_cause() -> None:
    cause = KeyError("secret")
    error = from_exception(cause)
    assert type(error) is Internal
    assert error.__cause__ is cause
    assert "secret" in str(error)
    assert "secret" not in error.public_message


def test_an_error_of_the_tree_passes_through_unchanged() -> None:
    error = StaleFence("fence 3 is behind 4")
    assert from_exception(error) is error


def test_a_stale_fence_is_also_a_conflict() -> None:
    assert issubclass(StaleFence, Conflict)


def test_errors_survive_pickling_between_processes() -> None:
    error = InvalidInput.for_field("width", 5, "must be even", "use 6")
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert back.violations == error.violations
