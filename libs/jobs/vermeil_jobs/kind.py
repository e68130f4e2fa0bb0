"""JobKind: a sort of work — its name, its messages, who submits it and who does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from vermeil_errors import InvalidInput

from vermeil_jobs.context import JobContext
from vermeil_jobs.job import JobOutcome

RequestT = TypeVar("RequestT", bound=Message)
SpecT = TypeVar("SpecT", bound=Message)


@dataclass(frozen=True)
class JobKind(Generic[RequestT, SpecT]):
    """A sort of work."""

    name: str
    """Name of the task, such as "vermeil.trainer.v1.train"."""
    queue: str
    """Queue of the task, such as "trainer"."""
    request_type: type[RequestT]
    """Message that asks for it, such as StartTrainingRequest; has a request_id."""
    spec_type: type[SpecT]
    """Message that specifies it, such as TrainingSpec."""
    submit: Callable[[RequestT], object]
    """Creates the job; the same function that answers the RPC."""
    work: Callable[[JobContext, SpecT], JobOutcome]
    """Does it."""

    def parse_request(self, payload: Mapping[str, object], task_id: str) -> RequestT:
        """The request in a payload; without a request_id of its own, the task's id serves."""
        content = dict(payload)
        if "request_id" not in content and "requestId" not in content:
            content["request_id"] = task_id
        try:
            return json_format.ParseDict(content, self.request_type())
        except json_format.ParseError as error:
            wanted = self.request_type.DESCRIPTOR.full_name
            raise InvalidInput(
                f"the payload of task {self.name} is not the JSON of {wanted}: {error}"
            ) from error

    def unpack_spec(self, context: JobContext) -> SpecT:
        """The specification of a job of this kind."""
        wanted = self.spec_type.DESCRIPTOR.full_name
        found = context.spec.type_name
        if found != wanted:
            raise InvalidInput.for_field(
                "spec", found, "is not what this kind of job takes", f"send {wanted}"
            )
        return self.spec_type.FromString(context.spec.value)
