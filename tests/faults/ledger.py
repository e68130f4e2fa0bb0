"""The client's book of requests against the gateway's: nothing lost, nothing answered twice."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vermeil_client.bench.outcome import End, Outcome

HONEST = {End.COMPLETED, End.SHED, End.BROKEN_OFF}
"""Ends that a server may give a request that it cannot answer; the last only when it was killed."""
_RETRYABLE = {"UNAVAILABLE", "OVERLOADED"}


def compare(outcomes: Sequence[Outcome], log: Path) -> dict[str, Any]:
    """Every request once in the gateway's log, with the same status."""
    ids = {each.id for each in outcomes}
    told: dict[str, list[int]] = {}
    with log.open() as lines:
        for line in lines:
            if '"event": "request"' in line and (entry := json.loads(line)).get("request_id") in ids:
                told.setdefault(entry["request_id"], []).append(entry["status"])
    dishonest = [each for each in outcomes if each.end not in HONEST]
    silent = [each for each in outcomes if each.end == End.BROKEN_OFF and each.code not in _RETRYABLE]
    return {
        "sent": len(outcomes),
        "ids": len(ids),
        "ends": dict(Counter(each.end.value for each in outcomes)),
        "codes": dict(Counter(each.code for each in outcomes if each.code)),
        "not_in_the_log": len(ids - set(told)),
        "twice_in_the_log": sum(len(statuses) > 1 for statuses in told.values()),
        "other_status": sum(_differs(each, told.get(each.id, [])) for each in outcomes),
        "lost_or_wrong": [f"{each.id}: {each.end}: {each.code}" for each in dishonest][:20],
        "not_retryable": [f"{each.id}: {each.code}" for each in silent][:20],
    }


def is_sound(book: dict[str, Any]) -> bool:
    """Whether the books agree and every request came to an honest end."""
    wrong = ("not_in_the_log", "twice_in_the_log", "other_status", "lost_or_wrong", "not_retryable")
    return book["sent"] == book["ids"] and not any(book[each] for each in wrong)


def _differs(outcome: Outcome, statuses: list[int]) -> bool:
    said = int(outcome.code.split()[0]) if outcome.end == End.SHED else 200
    return bool(statuses) and statuses != [said]
