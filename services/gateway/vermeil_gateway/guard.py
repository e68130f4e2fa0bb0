"""Who may enter, and how much they may bring: callers, hosts, bodies.

A body is read here, whole, so that its size and the time it takes are bounded in one place.
"""

import asyncio
from contextlib import ExitStack

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from vermeil_errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    PermissionDenied,
    TooLarge,
    VermeilError,
)
from vermeil_rpc.behalf import on_behalf_of

from vermeil_gateway.admission import Admission, Ticket
from vermeil_gateway.allowance import Allowance
from vermeil_gateway.callers import Callers
from vermeil_gateway.problems import problem_response
from vermeil_gateway.scopes import COMPUTING_PATHS, OPEN_PATHS
from vermeil_gateway.settings import GatewaySettings

_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Guarded:
    """Lets a request in, with its body, or answers why not."""

    def __init__(
        self, app: ASGIApp, settings: GatewaySettings, callers: Callers, admission: Admission
    ) -> None:
        self._app = app
        self._admission = admission
        self._callers = callers
        self._hosts = _LOCAL_HOSTS | {settings.http_bind.rpartition(":")[0].lower()}
        self._max_bytes = settings.gateway_max_body_bytes
        self._seconds = settings.gateway_body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _telling(scope, send)
        with ExitStack() as inside:
            try:
                ticket = await self._enter(scope, headers, inside)
                if ticket is not None and scope["method"] in _WITH_BODY:
                    receive = _replayed(await self._body(headers, receive, ticket), receive)
            except VermeilError as error:
                await problem_response(error)(scope, receive, send)
                return
            await self._app(scope, receive, send)

    async def _enter(self, scope: Scope, headers: Headers, inside: ExitStack) -> Ticket | None:
        """Let the caller in; None where everyone may look."""
        if self._callers.is_open:
            _check_host(headers.get("host", ""), self._hosts)
        if scope["path"] in OPEN_PATHS:
            return None
        state = scope["state"]
        caller = await self._callers.caller(headers.get("authorization", ""))
        state["caller"], state["allowance"] = caller.name, caller.allowance
        state["scopes"] = caller.scopes
        ticket = inside.enter_context(self._admission.enter(computes=scope["path"] in COMPUTING_PATHS))
        caller.enter(scope["method"], scope["path"])
        if caller.allowance is not None:
            allowance = caller.allowance
            inside.callback(lambda: allowance.leave(state["spent"].tokens))
        inside.enter_context(on_behalf_of(caller.owner))
        return ticket

    async def _body(self, headers: Headers, receive: Receive, ticket: Ticket) -> bytes:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(int(length))
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive, ticket)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the request's body took longer than {self._seconds:g} s") from error
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        # Without keys a page of a browser must not begin or end anything: it needs leave to name this type.
        is_page = self._callers.is_open and "origin" in headers
        if (body or is_page) and kind != "application/json":
            raise InvalidInput.for_field(
                "content-type", kind, "is not supported", "send JSON as application/json"
            )
        return body

    async def _read(self, receive: Receive, ticket: Ticket) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Cancelled("the client went away")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                raise self._too_large(len(body))
            ticket.hold(len(body))
        return bytes(body)

    def _too_large(self, num_bytes: int) -> TooLarge:
        return TooLarge(
            f"a body of {num_bytes} bytes or more is over the limit of {self._max_bytes}",
            fix="send less, or raise VERMEIL_GATEWAY_MAX_BODY_BYTES",
        )


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _check_host(host: str, allowed: frozenset[str]) -> None:
    """Without keys only this machine may ask, and no page of a browser that was led here by a name."""
    name = host.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    if name not in allowed:
        raise PermissionDenied(
            "this gateway has no keys and answers to local names only",
            field="host",
            value=host,
            fix="call 127.0.0.1, or set VERMEIL_API_KEYS",
        )


def _telling(scope: Scope, send: Send) -> Send:
    """Answers that say how much of the caller's allowance is left."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            allowance: Allowance | None = scope["state"].get("allowance")
            headers = MutableHeaders(scope=message)
            for name, value in allowance.headers() if allowance is not None else ():
                headers[name] = value
        await send(message)

    return tell
