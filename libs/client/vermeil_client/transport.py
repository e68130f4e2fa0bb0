"""HTTP to the gateway: JSON in and out, server-sent events, errors as classes of the one tree.

Knows paths only as strings; what they mean is `client.py`'s business.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Self

import httpx
from vermeil_errors import (
    InvalidInput,
    NotFound,
    Overloaded,
    PermissionDenied,
    TooLarge,
    Unauthenticated,
    Unavailable,
    VermeilError,
    Violation,
    catalogue,
)

Json = dict[str, Any]

_BY_STATUS: Mapping[int, type[VermeilError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    413: TooLarge,
    422: InvalidInput,
    429: Overloaded,
}
"""What another server means, or something between, that does not speak of our reasons."""

_DONE = "[DONE]"
_STREAM = httpx.Timeout(60, read=None)
"""An answer may think for as long as it likes before its next event."""
_FILE = httpx.Timeout(60, read=600)
"""A gateway whose store is a server brings a whole file to itself before it sends the first byte."""


class Transport:
    """One connection pool to one gateway.

    Args:
        url: Address of the gateway, such as `http://127.0.0.1:8080`.
        api_key: Sent as a bearer token; None sends none.
        timeout: Seconds to wait for a plain answer; streams wait for their next event without limit.
        http: Transport of httpx to use instead of the network, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._client = httpx.Client(
            base_url=_checked(url), headers=_headers(api_key), timeout=timeout, transport=http
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **query: str | int) -> Json:
        """GET a JSON object; parameters that are empty are left out."""
        wanted = {name: value for name, value in query.items() if value not in ("", 0)}
        return self._json("GET", path, params=wanted)

    def read(self, path: str) -> bytes:
        """GET a file, from the gateway or from where its link leads, which is not told the key."""
        return self._answer("GET", path, follow_redirects=True).content

    def blocks(self, path: str, num_bytes: int) -> Iterator[bytes]:
        """GET a file of any size like `read`, in blocks."""
        try:
            with self._client.stream("GET", path, timeout=_FILE, follow_redirects=True) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error(answer)
                yield from answer.iter_bytes(num_bytes)
        except httpx.RequestError as error:
            raise _unreachable(self.url, error) from error

    def post(self, path: str, body: Json | None = None) -> Json:
        """POST a JSON object and read the answer."""
        return self._json("POST", path, json=body or {})

    def events(self, method: str, path: str, body: Json | None = None) -> Iterator[Json]:
        """Yield the JSON of each server-sent event until `[DONE]` or the end of the stream."""
        try:
            with self._client.stream(method, path, json=body, timeout=_STREAM) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error(answer)
                for line in answer.iter_lines():
                    data = _data_in(line)
                    if data == _DONE:
                        return
                    if data:
                        yield _event(data)
        except httpx.TransportError as error:
            raise _unreachable(self.url, error) from error

    def _json(self, method: str, path: str, **arguments: Any) -> Json:
        answer = self._answer(method, path, **arguments)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Unavailable(f"{self.url} does not answer like a Vermeil gateway", fix="check VERMEIL_URL")
        return body

    def _answer(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **arguments)
        except httpx.RequestError as error:
            raise _unreachable(self.url, error) from error
        if not answer.is_success:
            raise _error(answer)
        return answer


class AsyncTransport:
    """Streams of one gateway for programs with an event loop: who stops listening closes the connection.

    Arguments are those of Transport.
    """

    def __init__(
        self, url: str, api_key: str | None = None, *, http: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=_checked(url), headers=_headers(api_key), timeout=_STREAM, transport=http
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def events(self, method: str, path: str, body: Json | None = None) -> AsyncGenerator[Json, None]:
        """Yield the JSON of each server-sent event until `[DONE]` or the end of the stream."""
        try:
            async with self._client.stream(method, path, json=body) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise _error(answer)
                async for line in answer.aiter_lines():
                    data = _data_in(line)
                    if data == _DONE:
                        return
                    if data:
                        yield _event(data)
        except httpx.TransportError as error:
            raise _unreachable(self.url, error) from error


def _checked(url: str) -> str:
    try:
        known = httpx.URL(url)
    except httpx.InvalidURL:
        known = httpx.URL()
    if known.scheme not in ("http", "https") or not known.host:
        raise InvalidInput.for_field(
            "VERMEIL_URL", url, "is not the address of a gateway", "write http://host:port"
        )
    return url


def _headers(api_key: str | None) -> dict[bytes, bytes]:
    key = (api_key or "").strip()
    if not key.isprintable():
        raise InvalidInput(
            "has characters that no key has", field="VERMEIL_API_KEY", fix="copy it again, on one line"
        )
    return {b"authorization": f"Bearer {key}".encode()} if key else {}


def _data_in(line: str) -> str:
    """The data of a line of a stream; empty where it has none."""
    return line.removeprefix("data:").strip() if line.startswith("data:") else ""


def _event(data: str) -> Json:
    try:
        event: Json = json.loads(data)
    except ValueError as error:
        raise Unavailable("the answer broke off within an event", fix="try again") from error
    if "error" in event and set(event) == {"error"}:
        raise _from_body(event["error"], Unavailable)
    return event


def _unreachable(url: str, error: httpx.RequestError) -> Unavailable:
    asked = error.request.url
    if asked.netloc != httpx.URL(url).netloc:
        return Unavailable(
            f"no answer from {_origin(asked)} ({error or type(error).__name__}), where {url} has the file",
            fix="ask who runs the gateway whether VERMEIL_S3_PUBLIC_ENDPOINT can be reached from here",
        )
    return Unavailable(
        f"no answer from {url} ({error or type(error).__name__})",
        fix="start it with `vermeil up`, or set VERMEIL_URL",
    )


def _error(answer: httpx.Response) -> VermeilError:
    known = _BY_STATUS.get(answer.status_code, Unavailable)
    if answer.has_redirect_location:
        place = answer.headers["location"]
        return known(
            f"the gateway says that it lies elsewhere: {place}", fix="set VERMEIL_URL to where it is"
        )
    try:
        return _from_body(answer.json()["error"], known)
    except (ValueError, KeyError, TypeError):
        who = _origin(answer.url) if answer.history else "the gateway"
        return known(f"{who} answered {answer.status_code} {answer.reason_phrase}")


def _origin(url: httpx.URL) -> str:
    """Of a link no more than this is told: the rest is a key."""
    return f"{url.scheme}://{url.netloc.decode()}"


def _from_body(error: object, otherwise: type[VermeilError]) -> VermeilError:
    """What an error's body says; `otherwise` is its class where it names none of ours."""
    if not isinstance(error, dict):
        return otherwise(str(error))
    violations = [
        Violation(str(each.get("field", "")), str(each.get("description", "")))
        for each in error.get("violations") or []
    ]
    cls = catalogue().get(str(error.get("code")), otherwise)
    return cls(str(error.get("message")), violations=violations)
