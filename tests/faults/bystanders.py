"""Who must not notice that the generator dies: the registry, a training job, the stream that watches it."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from vermeil_client import Job as JobResource
from vermeil_client import Vermeil
from vermeil_errors import DeadlineExceeded, Overloaded, Unavailable, VermeilError

_TRIES = 5


@dataclass
class Registry:
    """Asks for the models again and again."""

    url: str
    every: float
    expected: set[str]
    """Models that must always be listed."""
    num_asked: int = 0
    num_overloaded: int = 0
    """Told to come again, as everybody under load may be."""
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Registry":
        self._thread = threading.Thread(target=self._run, name="registry")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with Vermeil(self.url) as client:
            while not self._over.wait(self.every):
                began = time.monotonic()
                self.num_asked += 1
                try:
                    missing = self.expected - {model.id for model in client.models()}
                    if missing:
                        self.failures.append(f"not listed: {missing}")
                except VermeilError as error:
                    self._note(error)
                self.slowest = max(self.slowest, time.monotonic() - began)

    def _note(self, error: VermeilError) -> None:
        if error.reason == "OVERLOADED":
            self.num_overloaded += 1
        else:
            self.failures.append(f"{error.reason}: {error}")


@dataclass
class Job:
    """A training that runs while the generator dies, watched by one stream from beginning to end."""

    url: str
    recipe: dict[str, Any]
    digest: str
    """That the same recipe gave before."""
    num_events: int = 0
    failure: str = ""

    def start(self) -> None:
        """Begin it."""
        self._thread = threading.Thread(target=self._run, name="job")
        self._thread.start()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with Vermeil(self.url) as client:
                job = self._begun(client)
                for latest in client.watch(job.name):
                    job = latest
                    self.num_events += 1
                job.raise_for_state()
        except VermeilError as error:
            self.failure = f"{error.reason}: {error}"
            return
        if job.outputs["model"] != self.digest:
            self.failure = f"the same recipe gave {job.outputs['model']}, and {self.digest} before"
        if job.raw.get("attempt", 1) != 1:
            self.failure = f"it took {job.raw['attempt']} attempts"

    def _begun(self, client: Vermeil) -> JobResource:
        """The same request id is the same job, so who got no answer in time may ask again."""
        for _ in range(_TRIES - 1):
            try:
                return client.train(self.recipe, request_id="bystander")
            except (DeadlineExceeded, Overloaded, Unavailable):
                time.sleep(1)
        return client.train(self.recipe, request_id="bystander")
