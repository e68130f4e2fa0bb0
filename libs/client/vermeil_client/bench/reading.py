"""An answer as it comes, and whether it is whole. Knows nothing of connections and clocks.

An answer is whole if it was finished once, nothing came after that, its usage was told once and agrees
with what was streamed, and `[DONE]` ended it.
"""

import json
from typing import Any, Protocol

from vermeil_client.bench.mixture import IMAGES_PATH, Ask
from vermeil_client.bench.outcome import End, Outcome

Json = dict[str, Any]


class Reading(Protocol):
    """Takes the bytes of a successful answer and judges them at the end."""

    def feed(self, data: bytes) -> bool:
        """More bytes; True if they carried something of the answer."""

    def judge(self, outcome: Outcome) -> None:
        """The stream is over: write down how it ended."""


def reading(ask: Ask) -> Reading:
    """What reads the answer to a request."""
    return _Pictures() if ask.path == IMAGES_PATH else _Stream(ask)


def told_error(body: bytes) -> tuple[str, str]:
    """Code and message of an error as OpenAI's API tells it; empty where the body is something else."""
    try:
        error = json.loads(body)["error"]
        return str(error.get("code") or error.get("type") or ""), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", body[:200].decode(errors="replace")


class _Stream:
    """A streamed chat."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._pending = b""
        self._ids: set[str] = set()
        self._text: list[str] = []
        self._num_pieces = 0
        self._num_told = 0
        self._reasons: list[str] = []
        self._usages: list[Json] = []
        self._num_done = 0
        self._error: Json | None = None
        self._problem = ""

    def feed(self, data: bytes) -> bool:
        lines = (self._pending + data).split(b"\n")
        self._pending = lines.pop()
        has_text = False
        for line in lines:
            if line.startswith(b"data:"):
                has_text |= self._take(line[5:].strip())
        return has_text

    def _take(self, data: bytes) -> bool:
        if self._num_done:
            self._problem = self._problem or "something came after [DONE]"
        if data == b"[DONE]":
            self._num_done += 1
            return False
        try:
            event = json.loads(data)
        except ValueError:
            self._problem = self._problem or f"an event is not JSON: {data[:80]!r}"
            return False
        if "error" in event:
            self._error = event["error"] if isinstance(event["error"], dict) else {"message": event["error"]}
            return False
        self._ids.add(str(event.get("id")))
        if event.get("usage"):
            self._usages.append(event["usage"])
        has_text = False
        for choice in event.get("choices") or ():
            has_text |= self._take_choice(choice)
        return has_text

    def _take_choice(self, choice: Json) -> bool:
        delta = choice.get("delta") or {}
        text, pictures = delta.get("content") or "", delta.get("images") or ()
        told = (choice.get("logprobs") or {}).get("content") or ()
        if (text or pictures or told) and self._reasons:
            self._problem = self._problem or "more text came after the answer was finished"
        self._num_told += len(told)
        if text:
            self._num_pieces += 1
            if self._ask.kind == "json":
                self._text.append(text)
        if choice.get("finish_reason"):
            self._reasons.append(choice["finish_reason"])
        return bool(text or pictures)

    def judge(self, outcome: Outcome) -> None:
        if self._usages:
            outcome.prompt_tokens = int(self._usages[-1].get("prompt_tokens") or 0)
            outcome.output_tokens = int(self._usages[-1].get("completion_tokens") or 0)
        if self._error is not None:
            outcome.end = End.BROKEN_OFF
            outcome.code = str(self._error.get("code") or self._error.get("type") or "error")
            outcome.problem = str(self._error.get("message", ""))
        elif not self._problem and not (self._num_done and self._reasons):
            outcome.end, outcome.code = End.LOST, "incomplete"
            outcome.problem = "the answer ended without finish_reason or [DONE]"
        elif problem := self._problem or self._contradiction(outcome.output_tokens):
            outcome.end, outcome.code, outcome.problem = End.WRONG, "contradiction", problem
        else:
            outcome.end = End.COMPLETED

    def _contradiction(self, num_tokens: int) -> str:
        """What the answer says of itself and is not so; empty where all agrees."""
        text = "".join(self._text)
        is_other = self._ask.kind == "json" and self._reasons == ["stop"] and not _is_json(text)
        findings = {
            f"finished {len(self._reasons)} times": len(self._reasons) > 1,
            f"{self._num_done} times [DONE]": self._num_done > 1,
            f"one answer with several ids: {sorted(self._ids)}": len(self._ids) > 1,
            f"usage was told {len(self._usages)} times": len(self._usages) != 1,
            f"usage says {num_tokens} tokens, more than max_tokens": num_tokens > self._ask.max_tokens,
            f"usage says {num_tokens} tokens, and {self._num_pieces} pieces came": num_tokens
            < self._num_pieces,
            f"usage says {num_tokens} tokens, and {self._num_told} came": self._ask.counts_tokens
            and num_tokens != self._num_told,
            f"not the JSON that was asked for: {text[:80]}": is_other,
        }
        return next((finding for finding, holds in findings.items() if holds), "")


class _Pictures:
    """Pictures in one piece of JSON."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        self._parts.append(data)
        return False

    def judge(self, outcome: Outcome) -> None:
        try:
            body = json.loads(b"".join(self._parts))
            shown = [each.get("b64_json") or each.get("url") for each in body["data"]]
            usage = body.get("usage") or {}
            outcome.prompt_tokens = int(usage.get("input_tokens") or 0)
            outcome.output_tokens = int(usage.get("output_tokens") or 0)
        except (ValueError, KeyError, TypeError, AttributeError):
            outcome.end, outcome.code, outcome.problem = End.LOST, "incomplete", "not the JSON of pictures"
            return
        if len(shown) == 1 and shown[0]:
            outcome.end = End.COMPLETED
        else:
            outcome.end, outcome.code = End.WRONG, "contradiction"
            outcome.problem = f"{len(shown)} pictures came, and 1 was asked for"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
