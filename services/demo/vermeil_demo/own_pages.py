"""Only its own pages may ask: none of another origin, and none that has put it into a frame.

Gradio signs people in by a cookie that browsers send along for pages of everybody (SameSite=None), and lets
those read the answers wherever it is not on this machine.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": "frame-ancestors 'self'",
    "referrer-policy": "same-origin",
}


class OwnPages:
    """Around everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        app: ASGIApp = self._app if _is_own(Headers(scope=scope)) else _REFUSED
        await app(scope, receive, send_with_headers)


_REFUSED = PlainTextResponse("This page answers to its own pages only.", 403)


def _is_own(headers: Headers) -> bool:
    """Browsers name the origin of whoever asks, except where they open a page; programs name none.

    A proxy may tell the name it is called by in a header that pages cannot set without asking first.
    """
    origin = headers.get("origin")
    own = (headers.get("host", ""), headers.get("x-forwarded-host", ""))
    return origin is None or origin.partition("://")[2].lower() in {each.lower() for each in own if each}
