"""What the routes share: the clients at hand, messages in and out, refusal of unknown parameters."""

import json
import uuid
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse
from google.protobuf.message import Message
from vermeil.job.v1.job_pb2 import JobPriority
from vermeil_errors import InvalidInput, PermissionDenied

from vermeil_gateway.clients import Clients
from vermeil_gateway.pictures import Pictures
from vermeil_gateway.protojson import Json, from_json, schema, to_json

AnyMessage = TypeVar("AnyMessage", bound=Message)

AS_A_PAGE = {
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'"
}
"""Headers of what browsers show as a page: whatever is in it runs nothing, loads nothing and asks nothing."""

PageSize = Annotated[int, Query(ge=0, le=1000, description="Entries on a page; 0 means 100.")]
PageToken = Annotated[str, Query(max_length=4096, description="next_page_token of the page before.")]


async def clients_of(request: Request) -> Clients:  # FastAPI would run a plain function in a thread
    """The clients that the app was made with."""
    clients: Clients = request.app.state.clients
    return clients


WithClients = Annotated[Clients, Depends(clients_of)]


async def pictures_of(request: Request) -> Pictures:  # as clients_of
    """The pictures that the app was made with."""
    pictures: Pictures = request.app.state.pictures
    return pictures


WithPictures = Annotated[Pictures, Depends(pictures_of)]


async def refuse_unknown_parameters(request: Request) -> None:
    """A misspelt parameter must not be ignored."""
    if not request.query_params:
        return
    route = request.scope["route"]
    known = {parameter.alias for parameter in route.dependant.query_params}
    for name, value in request.query_params.items():
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidInput.for_field(name, value, "is not a parameter", f"known here: {allowed}")


def shown(message: AnyMessage, status: int = 200) -> JSONResponse:
    """A message as the answer."""
    return JSONResponse(to_json(message), status_code=status)


async def read(request: Request, message: AnyMessage) -> AnyMessage:
    """The body as a message."""
    try:
        body = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidInput("the body is not a JSON object", fix="GET /docs shows its fields")
    return from_json(body, message)


def given_request_id(request: Request, given: str) -> str:
    """The id that makes a start happen once: of the body or of the Idempotency-Key header; empty for none."""
    header = request.headers.get("idempotency-key", "")
    if given and header and given != header:
        raise InvalidInput.for_field(
            "request_id", given, f"differs from the header Idempotency-Key = {header!r}", "send one of them"
        )
    return given or header


def request_id_of(request: Request, given: str) -> str:
    """The same, a new one if none was given."""
    return given_request_id(request, given) or uuid.uuid4().hex


def check_priority(request: Request, priority: JobPriority.ValueType) -> None:
    """Work of high priority goes before everybody's, so it takes an admin."""
    state = request.scope["state"]
    if priority == JobPriority.JOB_PRIORITY_HIGH and "admin" not in state["scopes"]:
        raise PermissionDenied(
            f"{state['caller']} is not an admin's, and only they may go before all others",
            field="priority",
            value=JobPriority.Name(priority),
            fix="ask for JOB_PRIORITY_NORMAL or less, or use an admin's key",
        )


def documented(
    response: type[Message], request: type[Message] | None = None, status: int = 200
) -> dict[str, Any]:
    """Arguments of a route that put the messages' schemas on the OpenAPI page."""
    extra: Json = {
        "responses": {str(status): {"content": {"application/json": {"schema": schema(response)}}}}
    }
    if request is not None:
        body = {"application/json": {"schema": schema(request)}}
        extra["requestBody"] = {"required": True, "content": body}
    return {"openapi_extra": extra, "status_code": status}
