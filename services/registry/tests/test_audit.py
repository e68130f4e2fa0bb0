"""The line of changes: written once, found by who and by what, newest first."""

import pytest
from vermeil.registry.v1 import audit_service_pb2 as wire
from vermeil.registry.v1.audit_event_pb2 import AuditEvent
from vermeil.registry.v1.audit_service_pb2_grpc import AuditServiceStub
from vermeil_errors import InvalidInput
from vermeil_jobs import ManualClock
from vermeil_registry.audit import Audit, NewEvent
from vermeil_registry.database import Database
from vermeil_rpc import connect


def new(caller: str = "operator", resource: str = "jobs/1", status: int = 202) -> NewEvent:
    return NewEvent(caller, "POST /v1/trainings", resource, status, "trace-1")


def test_events_are_found_by_who_and_by_what_newest_first(database: Database) -> None:
    audit = Audit(database, clock=ManualClock())
    for number in range(5):
        audit.record(new(f"keys/{number % 2}", f"jobs/{number}"), f"r{number}")
    first, token = audit.list_events(3, "")
    rest, end = audit.list_events(3, token)
    assert [event.new.resource for event in (*first, *rest)] == [
        f"jobs/{number}" for number in (4, 3, 2, 1, 0)
    ]
    assert end == ""
    mine, _ = audit.list_events(10, "", caller="keys/1")
    assert [event.new.resource for event in mine] == ["jobs/3", "jobs/1"]
    about, _ = audit.list_events(10, "", resource="jobs/2")
    assert [event.new.caller for event in about] == ["keys/0"]


def test_an_event_that_is_told_twice_is_written_once(database: Database) -> None:
    audit = Audit(database)
    assert audit.record(new(), "r1") == audit.record(new(), "r1")
    assert len(audit.list_events(10, "")[0]) == 1


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (AuditEvent(action="POST /x", status=200), "event.caller"),
        (AuditEvent(caller="a", action="POST /x", status=0), "event.status"),
        (AuditEvent(caller="a", action="POST /x\n{}", status=200), "event.action"),
        (AuditEvent(caller="a", action="POST /x", resource="x" * 257, status=200), "event.resource"),
    ],
)
def test_what_would_blur_the_line_is_refused_by_field(address: str, event: AuditEvent, field: str) -> None:
    request = wire.RecordAuditEventRequest(event=event, request_id="r1")
    with connect(address) as channel, pytest.raises(InvalidInput) as refused:
        AuditServiceStub(channel).RecordAuditEvent(request, timeout=60)
    assert refused.value.violations[0].field == field


def test_an_event_goes_over_the_wire_and_back(address: str) -> None:
    event = AuditEvent(caller="keys/a", action="POST /v1/keys", resource="keys/b", status=201)
    with connect(address) as channel:
        stub = AuditServiceStub(channel)
        request = wire.RecordAuditEventRequest(event=event, request_id="r1")
        written = stub.RecordAuditEvent(request, timeout=60).event
        listed = stub.ListAuditEvents(wire.ListAuditEventsRequest(caller="keys/a"), timeout=60).events
    assert list(listed) == [written]
    assert written.HasField("time")
