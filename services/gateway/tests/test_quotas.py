"""Whose jobs they are, how soon they go, and who says how many there may be."""

from collections.abc import Iterator
from typing import Any

import pytest
from vermeil_gateway.testing import Running, running_gateway

OPERATOR = {"authorization": "Bearer operator"}
STARTS = ("/v1/ingestions", "/v1/trainings", "/v1/evaluations", "/v1/encodings")


@pytest.fixture(scope="module")
def _door() -> Iterator[Running]:
    with running_gateway(api_keys=("operator",), gateway_key_cache_seconds=0.0) as door:
        yield door


@pytest.fixture
def door(_door: Running) -> Running:
    _door.backends.jobs.jobs.clear()
    _door.backends.audit.events.clear()
    return _door


def key_of(door: Running, *scopes: str, owner: str = "owners/ann") -> dict[str, str]:
    key = {"scopes": scopes, "owner": owner}
    answer = door.http.post("/v1/keys", json={"key": key}, headers=OPERATOR)
    return {"authorization": f"Bearer {answer.json()['secret']}"}


def started(door: Running, headers: dict[str, str], path: str = "/v1/trainings", **body: Any) -> Any:
    return door.http.post(path, json=body, headers=headers)


def test_what_a_key_begins_belongs_to_the_key_s_owner(door: Running) -> None:
    for path in STARTS:
        job = started(door, key_of(door, "submit"), path).json()["job"]
        assert (job["owner"], job["priority"]) == ("owners/ann", "JOB_PRIORITY_UNSPECIFIED")
        door.backends.jobs.jobs.clear()
    assert started(door, OPERATOR).json()["job"]["owner"] == "owners/default"


def test_only_admins_go_before_all_others(door: Running) -> None:
    submitter = key_of(door, "submit")
    for path in STARTS:
        refused = started(door, submitter, path, priority="JOB_PRIORITY_HIGH")
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "priority")
        low = started(door, submitter, path, priority="JOB_PRIORITY_LOW", request_id=path)
        assert low.json()["job"]["priority"] == "JOB_PRIORITY_LOW"
    for admin in (OPERATOR, key_of(door, "admin")):
        door.backends.jobs.jobs.clear()
        high = started(door, admin, priority="JOB_PRIORITY_HIGH")
        assert high.json()["job"]["priority"] == "JOB_PRIORITY_HIGH"


def test_admins_set_quotas_everyone_reads_them_and_it_is_written_down(door: Running) -> None:
    limits = {"max_running": "2", "max_waiting": "100"}
    submitter = key_of(door, "submit", "read")
    for change in ("/v1/quotas/ann", "/v1/quotas/ann/reset"):
        assert door.http.post(change, json={}, headers=submitter).status_code == 403
    set_now = door.http.post("/v1/quotas/ann", json={"limits": limits}, headers=OPERATOR)
    assert set_now.json()["limits"] == limits
    assert door.http.get("/v1/quotas/ann", headers=submitter).json() == set_now.json()
    assert door.http.get("/v1/quotas", headers=submitter).json()["quotas"] == [set_now.json()]
    assert door.http.post("/v1/quotas/ann/reset", headers=OPERATOR).json()["is_default"]
    assert door.http.get("/v1/quotas", headers=submitter).json()["quotas"] == []
    events = [(each.action, each.resource, each.status) for each in door.backends.audit.events]
    assert events[-2:] == [
        ("POST /v1/quotas/{owner}", "quotas/ann", 200),
        ("POST /v1/quotas/{owner}/reset", "quotas/ann", 200),
    ]


def test_nonsense_about_quotas_is_refused_by_name(door: Running) -> None:
    for body, field in (
        ({"owner": "owners/bob"}, "owner"),
        ({"limits": {"max_running": -1}}, "limits"),
        ({"limits": {"max_walking": 1}}, "limits"),
    ):
        answer = door.http.post("/v1/quotas/ann", json=body, headers=OPERATOR)
        assert answer.status_code == 400
        assert field in answer.json()["error"]["message"]
