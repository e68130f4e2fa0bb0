"""One prefix of one bucket, spoken to through the minio SDK; every error comes out in our own tree.

Publishing needs no conditional writes, which some servers ignore: what is written is named by its content.
They only keep the first publisher's word about where an artifact came from.
"""

import io
import queue
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import certifi
import urllib3
from minio import Minio
from minio.commonconfig import REPLACE, CopySource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool
from vermeil_errors import (
    InvalidInput,
    NotFound,
    OutOfSpace,
    PermissionDenied,
    Unavailable,
    VermeilError,
)

from vermeil_artifacts.s3_parts import Parts, give_up, unfinished

_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
PART_BYTES = 64 * 2**20  # 1.6 times as fast as the SDK's own choice
_CHUNK_BYTES = 2**20
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"}
_BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "XMinioServerNotInitialized"}


@dataclass(frozen=True)
class Stored:
    """An object as the server knows it."""

    key: str
    """Below the prefix."""
    num_bytes: int
    """Its size."""
    modified: datetime
    """When it was last written, by the server's clock."""


def connect(
    endpoint: str, access_key: str | None, secret_key: str | None, *, secure: bool, silence: float = 20.0
) -> Minio:
    """A client that gives up on an absent server in seconds, on a silent one in a minute (SDK: 25).

    `silence` is how many seconds an answer may take, thrice.
    """
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=min(5.0, silence), read=silence),
        maxsize=16,
        cert_reqs="CERT_REQUIRED",
        ca_certs=certifi.where(),
        retries=_Retry(
            total=5,
            connect=2,
            read=2,
            backoff_factor=0.2,
            allowed_methods=("GET", "HEAD", "PUT"),
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,
        ),
    )
    try:
        return Minio(endpoint, access_key, secret_key, secure=secure, http_client=pool)
    except ValueError as error:
        raise InvalidInput.for_field(
            "VERMEIL_S3_ENDPOINT", endpoint, str(error), "write host:port, without http://"
        ) from error


def connect_public(url: str, access_key: str | None, secret_key: str | None) -> Minio:
    """A client that signs links for whoever reaches the server at another address; it asks nothing."""
    scheme, _, host = url.rstrip("/").partition("://")
    problem = "is not the address of a server"
    if scheme in {"http", "https"} and host and not host.startswith(":"):
        try:
            return Minio(host, access_key, secret_key, secure=scheme == "https")
        except ValueError as error:
            problem = str(error)
    raise InvalidInput.for_field(
        "VERMEIL_S3_PUBLIC_ENDPOINT", url, problem, "write https://host or https://host:port"
    )


class _Retry(urllib3.Retry):
    """After a silence hangs up whatever lies idle: it is likely to be as dead, and would be waited for."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """What is left of the tries after this one."""
        if isinstance(error, urllib3.exceptions.ReadTimeoutError) and isinstance(_pool, HTTPConnectionPool):
            _hang_up(_pool)
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _hang_up(pool: HTTPConnectionPool) -> None:
    idle = pool.pool
    with suppress(queue.Empty):
        while idle is not None:
            if connection := idle.get_nowait():
                connection.close()


class Remote:
    """Objects below one prefix; links to them are signed by `public`."""

    def __init__(self, client: Minio, bucket: str, prefix: str, public: Minio | None = None) -> None:
        self._client = client
        self._public = public
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.url = f"s3://{bucket}/{self._prefix}"

    def probe(self) -> None:
        """Write, read, list and remove one small object; say which of them the server refuses."""
        with self._errors("looking for the bucket"):
            if not self._has_bucket():
                raise NotFound(
                    f"the S3 server has no bucket {self._bucket}",
                    fix="create it, or change VERMEIL_ARTIFACTS_URL",
                )
        key, data = f"probe/{uuid.uuid4().hex}", b"vermeil"
        self.put_bytes(key, data)
        if self.read(key) != data:
            raise Unavailable(f"{self.url} does not return what was written", fix="use another S3 server")
        if key not in {stored.key for stored in self.list("probe/")}:
            raise Unavailable(f"{self.url} does not list what was just written", fix="use another S3 server")
        self.remove([key])

    def make_bucket(self) -> None:
        """Make the bucket unless it is there, and probe it."""
        with self._errors("making the bucket"):
            try:  # not looked for first: SeaweedFS keeps the answer that there is none
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise
            except ValueError as error:  # the SDK's, before it asks
                raise self._misnamed(error) from error
        self.probe()

    def _has_bucket(self) -> bool:
        try:
            return self._client.bucket_exists(self._bucket)
        except ValueError as error:  # the SDK's, before it asks
            raise self._misnamed(error) from error

    def _misnamed(self, error: ValueError) -> InvalidInput:
        return InvalidInput.for_field(
            "VERMEIL_ARTIFACTS_URL", self.url, str(error), "write s3://bucket/prefix"
        )

    def put_file(self, key: str, path: Path, num_bytes: int) -> None:
        """Upload a file; in parts if it is large, going on where an earlier upload broke off."""
        name = self._prefix + key
        with self._errors(f"writing {key}"):
            if num_bytes > PART_BYTES:
                Parts(self._client, self._bucket, name, path, num_bytes, PART_BYTES).upload()
                return
            with path.open("rb") as file:
                self._client.put_object(self._bucket, name, file, num_bytes, part_size=PART_BYTES)

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write a small object."""
        with self._errors(f"writing {key}"):
            self._client.put_object(self._bucket, self._prefix + key, io.BytesIO(data), len(data))

    def put_new(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one; whether it was written.

        A server that knows no conditions is asked first, and may let the later of two writers win.
        """
        if self.stat(key):
            return False
        unless_there = {"If-None-Match": "*", "Content-Type": "application/octet-stream"}
        with self._errors(f"writing {key}"):
            try:
                self._client._put_object(self._bucket, self._prefix + key, data, dict(unless_there))
            except S3Error as error:
                if error.code not in _TAKEN:
                    raise
                return False
        return True

    def give_up_unfinished(self, folder: str, newest: datetime) -> int:
        """Remove uploads in parts that began before and were never ended; how many."""
        with self._errors(f"giving up uploads of {folder}"):
            found = unfinished(self._client, self._bucket, self._prefix + folder)
            old = [(name, upload) for name, upload, began in found if began <= newest]
            for name, upload in old:
                give_up(self._client, self._bucket, name, upload)
        return len(old)

    def read(self, key: str) -> bytes:
        """Read a small object."""
        return b"".join(self._chunks_from(key, 0))

    def chunks(self, key: str, num_bytes: int, *, attempts: int = 5) -> Iterator[bytes]:
        """Stream an object, going on where a broken connection left off."""
        done = 0
        while done < num_bytes:
            before = done
            try:
                for chunk in self._chunks_from(key, done):
                    done += len(chunk)
                    yield chunk
            except Unavailable as error:
                attempts -= done == before
                if not attempts or (done == before and _is_silence(error)):
                    raise
                continue
            if done < num_bytes:
                return  # shorter than promised: the reader's hash will tell

    def link(self, key: str, name: str, seconds: int) -> str | None:
        """An address at which anybody may read an object for so long, to be kept under a name."""
        if self._public is None:
            return None
        with self._errors("looking for the bucket's region"):  # known since the probe
            region = self._client._get_region(self._bucket)
        self._public._region_map[self._bucket] = region  # or it asked where only others may reach
        return self._public.presigned_get_object(
            self._bucket,
            self._prefix + key,
            expires=timedelta(seconds=seconds),
            response_headers={"response-content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"},
        )

    def stat(self, key: str) -> Stored | None:
        """What the server knows of an object; None if it has none."""
        try:
            with self._errors(f"looking for {key}"):
                found = self._client.stat_object(self._bucket, self._prefix + key)
        except NotFound:
            return None
        return _stored(key, found.size, found.last_modified)

    def list(self, folder: str) -> Iterator[Stored]:
        """All objects whose key starts with `folder`."""
        with self._errors(f"listing {folder}"):
            for found in self._client.list_objects(self._bucket, self._prefix + folder, recursive=True):
                key = str(found.object_name).removeprefix(self._prefix)
                yield _stored(key, found.size, found.last_modified)

    def touch(self, key: str) -> None:
        """Make an object young again, by a copy onto itself inside the server."""
        name = self._prefix + key
        with self._errors(f"refreshing {key}"):
            self._client.copy_object(
                self._bucket,
                name,
                CopySource(self._bucket, name),
                metadata={"refreshed": "1"},
                metadata_directive=REPLACE,
            )

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects; absent ones are fine."""
        with self._errors("removing objects"):
            wanted = [DeleteObject(self._prefix + key) for key in keys]
            for failure in self._client.remove_objects(self._bucket, wanted):
                raise Unavailable(f"{self.url} did not remove {failure.name}: {failure.message}")

    def _chunks_from(self, key: str, offset: int) -> Iterator[bytes]:
        with self._errors(f"reading {key}"):
            response = self._client.get_object(self._bucket, self._prefix + key, offset=offset)
            try:
                yield from response.stream(_CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            raise _translated(error, f"{self.url}: {doing}") from error
        except (InvalidResponseError, ServerError, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(
                f"{self.url}: {doing} failed: {error}",
                fix="check VERMEIL_S3_ENDPOINT, VERMEIL_S3_SECURE and that the server runs",
            ) from error


def _is_silence(error: Unavailable) -> bool:
    """Whether each try waited in vain: more of them would hold the caller for minutes."""
    cause = error.__cause__
    reason = cause.reason if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
    return isinstance(reason, urllib3.exceptions.TimeoutError)


def _translated(error: S3Error, doing: str) -> VermeilError:
    code, text = str(error.code), f"{doing} failed: {error.code}: {error.message}"
    if code in {"NoSuchKey", "NoSuchObject", "ResourceNotFound"}:
        return NotFound(text)
    if code == "NoSuchBucket":
        return NotFound(text, fix="create the bucket, or change VERMEIL_ARTIFACTS_URL")
    if code in _DENIED:
        return PermissionDenied(
            text, fix="check VERMEIL_S3_ACCESS_KEY, VERMEIL_S3_SECRET_KEY and their rights"
        )
    if code in _FULL:
        return OutOfSpace(text, fix="free some space in the bucket or raise its quota")
    if code in _BUSY:
        return Unavailable(text, fix="try again")
    return Unavailable(text, fix="see the server's log")


def _stored(key: str, size: int | None, modified: datetime | None) -> Stored:
    if size is None or modified is None:
        raise Unavailable(f"the S3 server gives no size or time for {key}", fix="use another S3 server")
    return Stored(key, size, modified)
