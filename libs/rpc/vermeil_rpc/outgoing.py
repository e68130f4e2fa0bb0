"""What every call of ours carries: trace, request id, owner, token."""

from collections.abc import Iterable

from vermeil_telemetry import current_request_id, current_traceparent

from vermeil_rpc.behalf import OWNER, current_owner
from vermeil_rpc.guards import REQUEST_ID

Headers = tuple[tuple[str, str | bytes], ...]


def headers(given: Iterable[tuple[str, str | bytes]] | None, token: str | None) -> Headers:
    """The caller's own headers, and ours where it gave none of that name."""
    own = tuple(given or ())
    names = {name for name, _ in own}
    ours = [("traceparent", current_traceparent()), (REQUEST_ID, current_request_id())]
    if owner := current_owner():
        ours.append((OWNER, owner))
    if token:
        ours.append(("authorization", f"Bearer {token}"))
    return own + tuple((name, value) for name, value in ours if name not in names)
