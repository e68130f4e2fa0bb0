"""Messages of peers that say what cannot be."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from vermeil_errors import InvalidInput
from vermeil_jobs.client import DEFAULT_LEASE
from vermeil_jobs.messages import duration_from_message, time_from_message


@pytest.mark.parametrize(("seconds", "nanos"), [(2**53, 0), (-(2**63), 0), (0, -1), (0, 2**31 - 1)])
def test_a_time_that_is_none_is_refused_by_its_field(seconds: int, nanos: int) -> None:
    with pytest.raises(InvalidInput, match=f"key.expire_time = '{seconds} s and {nanos} ns': is no time"):
        time_from_message(Timestamp(seconds=seconds, nanos=nanos), "key.expire_time")


def test_a_lease_that_is_no_duration_is_refused_and_none_is_the_default() -> None:
    for seconds in (2**63 - 1, -(2**63)):
        with pytest.raises(InvalidInput, match=r"lease_duration = .* is no duration"):
            duration_from_message(Duration(seconds=seconds))
    assert duration_from_message(Duration()) == DEFAULT_LEASE
