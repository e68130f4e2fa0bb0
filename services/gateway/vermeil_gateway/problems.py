"""Errors as HTTP answers: one JSON shape, which OpenAI's clients read too.

The catalogue of `vermeil_errors` gives status and wording; nothing here invents one.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from vermeil_errors import InvalidInput, NotFound, QuotaExceeded, VermeilError, Violation, from_exception
from vermeil_telemetry import get_logger

from vermeil_gateway.allowance import RETRY_AFTER

RETRY_AFTER_SECONDS = 1

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_QUOTA = "insufficient_quota"
"""OpenAI's type of a 429 that waiting does not end."""
_TRIED_AGAIN_BY_CLIENTS = (409, 429)
"""Statuses that OpenAI's clients try again by themselves, unless told that it is of no use."""
_SHOWN = 60
"""Characters of a wrong value that errors repeat."""
_UNION_BRANCH = re.compile(r"(str|int|float|bool|none|function-.*|(list|dict|tuple|literal|constrained)\b.*)")
_logger = get_logger(__name__)


def problem(error: VermeilError) -> dict[str, Any]:
    """The body that shows an error: `{"error": {message, type, param, code, violations}}`."""
    fallback = "server_error" if error.http_status >= 500 else "invalid_request_error"
    type_ = _TYPES.get(error.http_status, fallback)
    return {
        "error": {
            "message": error.public_message,
            "type": _QUOTA if isinstance(error, QuotaExceeded) else type_,
            "param": (error.violations[0].field if error.violations else "") or None,
            "code": error.reason,
            "violations": [{"field": v.field, "description": v.description} for v in error.violations],
        }
    }


class _ProblemResponse(JSONResponse):
    def render(self, content: Any) -> bytes:
        """Also of a field whose name no UTF-8 can say: half a surrogate pair stays the escape that it was."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def problem_response(error: VermeilError) -> JSONResponse:
    """The whole answer that shows an error."""
    headers = {}
    if error.retryable:
        headers["retry-after"] = error.metadata.get(RETRY_AFTER, str(RETRY_AFTER_SECONDS))
    elif error.http_status in _TRIED_AGAIN_BY_CLIENTS:
        headers["x-should-retry"] = "false"
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return _ProblemResponse(problem(error), status_code=error.http_status, headers=headers)


def known(error: BaseException) -> VermeilError:
    """The tree's view of any exception; what is our own mistake goes to the log with its traceback."""
    translated = from_exception(error)
    if not translated.public:
        _logger.error("request failed", exc_info=error)
    return translated


def install(app: FastAPI) -> None:
    """Answer every kind of error in the one shape."""

    @app.exception_handler(VermeilError)
    async def _(_request: Request, error: VermeilError) -> JSONResponse:
        return problem_response(known(error))

    @app.exception_handler(RequestValidationError)
    async def _(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(_invalid(error.errors()))

    @app.exception_handler(UnicodeEncodeError)
    async def _(_request: Request, _error: UnicodeEncodeError) -> JSONResponse:
        return problem_response(InvalidInput("a text holds half a surrogate pair", fix="send valid Unicode"))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        route = f"{request.method} {request.url.path}"
        if error.status_code == 404:
            return problem_response(NotFound(f"no such route: {route}", fix="GET /docs lists them"))
        why = f": {error.__cause__}" if error.__cause__ else ""  # what could not be read in the body
        wrong = InvalidInput(f"{route}: {error.detail}{why}", fix="GET /docs shows what is possible")
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == 405:
            headers["allow"] = ", ".join(_methods(request))
        return JSONResponse(problem(wrong), status_code=error.status_code, headers=headers)


def _methods(request: Request) -> list[str]:
    """All that the path answers to: each route knows only its own."""
    routes: Sequence[Route] = request.app.state.routes
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in matching for method in route.methods or ()})


def _invalid(details: Iterable[Mapping[str, Any]]) -> InvalidInput:
    """Pydantic's findings as violations; the branches of a union that failed become one sentence."""
    found: dict[str, list[str]] = {}
    for detail in details:
        field = "" if detail["type"] == "json_invalid" else _path(detail)
        found.setdefault(field, []).append(_description(detail))
    violations = [Violation(field, " or ".join(dict.fromkeys(texts))) for field, texts in found.items()]
    shown = "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations[:3])
    more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
    return InvalidInput(f"{shown}{more}", violations=violations)


def _description(detail: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return "is not a field of this request"
        case "missing":
            return "is missing"
        case "json_invalid":
            return f"the body is not JSON: {detail.get('ctx', {}).get('error', 'cannot be read')}"
    text = str(detail["msg"]).removeprefix("Value error, ")
    given = detail.get("input")
    shown = f", not {_short(repr(given))}" if isinstance(given, str | int | float) else ""
    return f"{text[:1].lower()}{text[1:]}{shown}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _path(detail: Mapping[str, Any]) -> str:
    path, places = "", detail["loc"][1:]
    for number, place in enumerate(places, 1):
        is_name = detail["type"] == "extra_forbidden" and number == len(places)
        if isinstance(place, int):
            path += f"[{place}]"
        elif not is_name and (_UNION_BRANCH.fullmatch(place) or place[:1].isupper()):
            continue
        else:
            path += f".{place}" if path else place
    return path
