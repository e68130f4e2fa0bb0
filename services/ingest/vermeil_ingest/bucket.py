"""An S3 prefix as a shelf, through the same client as the artifact store."""

import hashlib
import re
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from vermeil_artifacts.s3_remote import Remote, connect
from vermeil_errors import InvalidInput, NotFound, TooLarge

from vermeil_ingest.globs import matches
from vermeil_ingest.settings import IngestSettings
from vermeil_ingest.shelf import Entry, Shelf
from vermeil_ingest.sources import Source

_ENDING = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")


def bucket_shelf(source: Source, settings: IngestSettings, folder: Path) -> Shelf:
    """All objects below a prefix, in the order of their keys; what is read as a file goes into `folder`."""
    if not settings.s3_endpoint:
        raise InvalidInput.for_field(
            "VERMEIL_S3_ENDPOINT", "", "is needed to read from s3://", "write host:port of the S3 server"
        )
    parts = urlsplit(source.uri)
    access, secret = (
        key.get_secret_value() if key else None for key in (settings.s3_access_key, settings.s3_secret_key)
    )
    client = connect(settings.s3_endpoint, access, secret, secure=settings.s3_secure)
    remote = Remote(client, parts.netloc, parts.path)
    stored = sorted((each.key, each.num_bytes) for each in remote.list(""))
    if not stored:
        raise NotFound("has no objects", field="uri", value=source.uri)
    entries = [
        Entry(key, partial(_read, remote, key, size), partial(_fetched, remote, key, size, folder))
        for key, size in stored
        if _is_wanted(key, source)
    ]
    return Shelf(source, tuple(entries))


def _is_wanted(key: str, source: Source) -> bool:
    if not key or key.endswith("/") or any(part.startswith(".") for part in key.split("/")):
        return False
    if source.include and not any(matches(key, pattern) for pattern in source.include):
        return False
    return not any(matches(key, pattern) for pattern in source.exclude)


def _read(remote: Remote, key: str, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:
        raise TooLarge(
            f"has {size:,} bytes, the limit is {max_bytes:,}", field=key, metadata={"problem": "too_large"}
        )
    return b"".join(remote.chunks(key, size))


def _fetched(remote: Remote, key: str, size: int, folder: Path) -> Path:
    """The object as a file; its name is a hash with the key's ending, for a key may be anything."""
    ending = _ENDING.search(key)
    name = hashlib.sha256(f"{remote.url} {key}".encode()).hexdigest() + (ending[0] if ending else "")
    path = folder / name
    if not path.exists() or path.stat().st_size != size:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in remote.chunks(key, size):
                file.write(chunk)
    return path
