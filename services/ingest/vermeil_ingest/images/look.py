"""Looks at pictures in processes of their own: one that hangs or dies costs one picture, not the job.

Pictures keep their order whatever the number of processes; what was made here is looked at here.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from vermeil_errors import VermeilError

from vermeil_ingest.images.candidates import BadCandidate, Candidate, Found
from vermeil_ingest.images.facts import Facts, Json, Looking, read_off, understood

SECONDS = 20.0
"""Time for one picture; a second suffices for 33 million pixels."""
_CHUNK, _CHUNK_BYTES = 64, 8 << 20

Seen = tuple[Candidate, Facts] | BadCandidate


class Lookers:
    """A few processes that decode; a context manager, for they must end."""

    def __init__(self, looking: Looking, num_workers: int = 0, *, seconds: float = SECONDS) -> None:
        self._looking = looking
        count = num_workers or os.cpu_count() or 1
        self._lookers = [_Looker(looking, seconds) for _ in range(count)]

    def look(self, found: Iterable[Found]) -> Iterator[Seen]:
        """Every picture with its facts, or as bad, in the order in which they came."""
        waiting: list[tuple[Sequence[Found], _Looker | None]] = []
        turn = 0
        for chunk in _chunks(found):
            looker = None
            if pictures := [each.data for each in chunk if isinstance(each, Candidate) and not each.is_ours]:
                looker = self._lookers[turn % len(self._lookers)]
                turn += 1
                while looker.is_busy:
                    yield from self._collect(*waiting.pop(0))
                looker.send(pictures)
            waiting.append((chunk, looker))
        for each in waiting:
            yield from self._collect(*each)

    def _collect(self, chunk: Sequence[Found], looker: "_Looker | None") -> Iterator[Seen]:
        answers = iter(looker.receive() if looker else ())
        for each in chunk:
            if isinstance(each, BadCandidate):
                yield each
                continue
            if each.is_ours:
                yield each, read_off(each.data, self._looking)
                continue
            facts = understood(next(answers), each.id)
            yield BadCandidate(each.id, facts) if isinstance(facts, VermeilError) else (each, facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for looker in self._lookers:
            looker.stop()


def _chunks(found: Iterable[Found]) -> Iterator[list[Found]]:
    chunk: list[Found] = []
    size = 0
    for each in found:
        chunk.append(each)
        size += len(each.data) if isinstance(each, Candidate) else 0
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Looker:
    """One process, started when it is first needed and again when it has died."""

    def __init__(self, looking: Looking, seconds: float) -> None:
        self._looking, self._seconds = looking, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._pictures: list[bytes] = []
        self._buffer = b""

    @property
    def is_busy(self) -> bool:
        """Whether answers are still to be received."""
        return bool(self._pictures)

    def send(self, pictures: list[bytes]) -> None:
        """Hand over pictures; the process is idle, so it reads them at once."""
        self._pictures = pictures
        process = self._started()
        assert process.stdin
        try:
            process.stdin.write(json.dumps([len(each) for each in pictures]).encode() + b"\n")
            for each in pictures:
                process.stdin.write(each)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # Dead: receiving will tell.

    def receive(self) -> Iterator[Json]:
        """An answer for each picture; where the process fails, the picture it was at is to blame."""
        while self._pictures:
            reason = self._wait()
            if reason is None:
                line, _, self._buffer = self._buffer.partition(b"\n")
                self._pictures.pop(0)
                yield json.loads(line)
                continue
            self.stop()
            rest = self._pictures[1:]
            self._pictures = []
            yield {"error": reason, "problem": "crashed"}
            if rest:
                self.send(rest)

    def stop(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._buffer = b""

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [
                sys.executable,
                "-m",
                "vermeil_ingest.images.looker",
                json.dumps(self._looking.to_json()),
            ]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process

    def _wait(self) -> str | None:
        """Until a whole line is there; else what went wrong."""
        process = self._started()
        assert process.stdout
        end, left = time.monotonic() + self._seconds, self._seconds
        while b"\n" not in self._buffer:
            was_over, left = left == 0, max(0.0, end - time.monotonic())
            # What came while we stood still is not late, but is looked at once.
            if was_over or not select.select([process.stdout], [], [], left)[0]:
                return f"took more than {self._seconds:g} seconds to decode"
            read = os.read(process.stdout.fileno(), 1 << 16)
            if not read:
                return "ended the process that decoded it"
            self._buffer += read
        return None
