"""What a request needs to be allowed, by its route: one page, so that it can be checked at a glance."""

from typing import Literal, get_args

Scope = Literal["inference", "read", "submit", "admin"]

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
"""What everyone may read: it tells nothing about anybody's data."""
ALL: frozenset[Scope] = frozenset(get_args(Scope))
INFERENCE_PATHS = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/images/generations"}
)
"""Where models compute: what is read and written there counts as tokens."""
COMPUTING_PATHS = INFERENCE_PATHS | {"/v1/search"}
"""Where an answer waits for a model; these requests are counted apart from all others."""
_READING = frozenset({"/v1/search", "/v1/evaluation-comparisons"})
"""Looking, although the question needs a body."""
_ALSO_FOR_INFERENCE = ("/v1/models", "/v1/images/")


def allowing(method: str, path: str) -> frozenset[Scope]:
    """The scopes of which one is needed; "admin" is always one."""
    if path in ("/metrics", "/v1/keys", "/v1/audit-events") or path.startswith("/v1/keys/"):
        return frozenset({"admin"})
    if path.startswith("/v1/quotas/") and method not in ("GET", "HEAD"):
        return frozenset({"admin"})
    if path in INFERENCE_PATHS:
        return frozenset({"inference", "admin"})
    if method in ("GET", "HEAD") or path in _READING:
        own: frozenset[Scope] = frozenset({"read", "admin"})
        return own | {"inference"} if path.startswith(_ALSO_FOR_INFERENCE) else own
    return frozenset({"submit", "admin"})


def is_change(method: str, path: str) -> bool:
    """Whether a request would change something: work begun or ended, a key made or taken back, a quota."""
    return method not in ("GET", "HEAD", "OPTIONS") and path not in COMPUTING_PATHS | _READING
