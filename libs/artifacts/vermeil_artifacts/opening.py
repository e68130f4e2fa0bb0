"""From an address to a store: file:///folder or s3://bucket/prefix."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from vermeil_errors import InvalidInput, Unavailable
from vermeil_settings import ArtifactSettings
from vermeil_telemetry import get_logger

from vermeil_artifacts.local import LocalStore
from vermeil_artifacts.store import ArtifactStore

if TYPE_CHECKING:
    from vermeil_artifacts.s3_remote import Remote

T = TypeVar("T")
_VARIABLE = "VERMEIL_ARTIFACTS_URL"
_PATIENCE = 120.0
"""Seconds for which a process that starts waits for its store."""
_LONGEST_PAUSE = 10.0
_logger = get_logger(__name__)


def open_store(
    url: str,
    *,
    cache: Path | None = None,
    cache_bytes: float = math.inf,
    s3_endpoint: str | None = None,
    s3_access_key: str | None = None,
    s3_secret_key: str | None = None,
    s3_secure: bool = True,
    s3_public_endpoint: str | None = None,
) -> ArtifactStore:
    """Open the store at `url`; one on S3 is probed at once, and keeps so many bytes of itself in `cache`."""
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        if not rest.startswith("/"):
            raise InvalidInput.for_field(_VARIABLE, url, "is not an absolute path", "write file:///folder")
        return LocalStore(Path(rest))
    if cache is None:
        raise InvalidInput.for_field("cache", None, "an s3:// store needs a local folder for what it fetches")
    # The SDK takes 0.2 s to import, which a laptop on file:// need not wait for.
    from vermeil_artifacts.cache import Cache  # noqa: PLC0415
    from vermeil_artifacts.s3 import S3Store  # noqa: PLC0415

    remote = _reach(
        url, s3_endpoint, s3_access_key, s3_secret_key, secure=s3_secure, public=s3_public_endpoint
    )
    return S3Store(remote, Cache(cache, cache_bytes))


def _reach(
    url: str,
    endpoint: str | None,
    access_key: str | None,
    secret_key: str | None,
    *,
    secure: bool,
    public: str | None = None,
) -> "Remote":
    address = urlsplit(url)
    if address.scheme != "s3":
        raise InvalidInput.for_field(
            _VARIABLE, url, "is no kind of store known here", "write file:///folder or s3://bucket/prefix"
        )
    if not address.netloc:
        raise InvalidInput.for_field(_VARIABLE, url, "names no bucket", "write s3://bucket/prefix")
    if not endpoint:
        raise InvalidInput.for_field(
            "VERMEIL_S3_ENDPOINT", "", "is needed for an s3:// store", "write host:port of the S3 server"
        )
    from vermeil_artifacts.s3_remote import Remote, connect, connect_public  # noqa: PLC0415  # as above

    client = connect(endpoint, access_key, secret_key, secure=secure)
    links = connect_public(public, access_key, secret_key) if public else None
    return Remote(client, address.netloc, address.path, links)


def await_store(settings: ArtifactSettings) -> ArtifactStore:
    """`store_from_settings` for a process that starts: an S3 server that is away is waited for, two minutes.

    What asking again will not mend, such as a wrong key or no bucket, is raised at once.
    """
    return _patiently(settings, lambda: store_from_settings(settings))


def make_bucket(settings: ArtifactSettings) -> None:
    """Make the bucket that the settings name unless it is there, with the patience of `await_store`."""
    if settings.artifacts_url.startswith("file:"):
        raise InvalidInput.for_field(
            _VARIABLE,
            settings.artifacts_url,
            "is a folder, which needs no bucket",
            "write s3://bucket/prefix",
        )
    remote = _reach(settings.artifacts_url, settings.s3_endpoint, *_keys(settings), secure=settings.s3_secure)
    _patiently(settings, remote.make_bucket)


def _patiently(settings: ArtifactSettings, ask: Callable[[], T]) -> T:
    end, pause = time.monotonic() + _PATIENCE, 1.0
    while True:
        try:
            return ask()
        except Unavailable as error:
            left = end - time.monotonic()
            if not settings.artifacts_url.startswith("s3://"):
                raise
            if left <= 0:
                problem = f"{settings.artifacts_url} was waited for in vain, for {_PATIENCE:g} s: {error}"
                raise Unavailable(problem, field="VERMEIL_S3_ENDPOINT", value=settings.s3_endpoint) from error
            _logger.warning("waiting for the artifact store", seconds_left=round(left), error=str(error))
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)


def store_from_settings(settings: ArtifactSettings) -> ArtifactStore:
    """The store a service's settings name; the cache of an S3 store lies in VERMEIL_HOME."""
    access_key, secret_key = _keys(settings)
    return open_store(
        settings.artifacts_url,
        cache=settings.home / "artifacts-cache",
        cache_bytes=settings.artifacts_cache_bytes,
        s3_endpoint=settings.s3_endpoint,
        s3_access_key=access_key,
        s3_secret_key=secret_key,
        s3_secure=settings.s3_secure,
        s3_public_endpoint=settings.s3_public_endpoint,
    )


def _keys(settings: ArtifactSettings) -> tuple[str | None, str | None]:
    access, secret = (
        key.get_secret_value() if key else None for key in (settings.s3_access_key, settings.s3_secret_key)
    )
    return access, secret
