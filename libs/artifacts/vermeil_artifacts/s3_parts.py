"""A large file in parts: an upload that broke off is gone on with, by whoever comes next.

What is uploaded is named by its content, so two who upload the same at once send the same parts, and an
upload that somebody else has begun is as good as one's own. Parts that are there are held to their MD5
before they are relied on. Goes below the SDK's public calls, which only know an upload as a whole.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from minio import Minio
from minio.datatypes import Part
from minio.error import S3Error

_NUM_PARTS_AT_ONCE = 3
_UNTOLD = {"AccessDenied", "MethodNotAllowed", "NotImplemented"}
"""What a server says that does not tell of unfinished uploads: then each begins anew."""
_MOST_LISTED = 1000
"""As servers list at once; who has more parts or uploads sends what he did not see again."""


@dataclass(frozen=True)
class Parts:
    """One object of a bucket, made of a file."""

    client: Minio
    bucket: str
    name: str
    path: Path
    num_bytes: int
    part_bytes: int

    def upload(self) -> None:
        """Send what the server lacks, then make it one; parts stay where that fails."""
        upload, there = self._unfinished()
        numbers = range(1, -(-self.num_bytes // self.part_bytes) + 1)

        def send(number: int) -> Part:
            data = self._read(number)
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if there.get(number) == (len(data), md5):
                return Part(number, md5)
            etag = self.client._upload_part(self.bucket, self.name, data, None, upload, number)
            return Part(number, etag)

        with ThreadPoolExecutor(_NUM_PARTS_AT_ONCE, "parts") as pool:
            parts = list(pool.map(send, numbers))
        try:
            self.client._complete_multipart_upload(self.bucket, self.name, upload, parts)
        except S3Error as error:
            if error.code != "NoSuchUpload" or not self._is_done():
                raise

    def _unfinished(self) -> tuple[str, dict[int, tuple[int, str]]]:
        """An upload to go on with, and size and MD5 of the parts that are there by their numbers."""
        for name, upload, _time in unfinished(self.client, self.bucket, self.name):
            if name == self.name:
                found = self.client._list_parts(self.bucket, name, upload, _MOST_LISTED)
                return upload, {part.part_number: (part.size or 0, part.etag) for part in found.parts}
        return self.client._create_multipart_upload(self.bucket, self.name, {}), {}

    def _read(self, number: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek((number - 1) * self.part_bytes)
            return file.read(self.part_bytes)

    def _is_done(self) -> bool:
        """Whether somebody else, who sent the same, was quicker."""
        try:
            return self.client.stat_object(self.bucket, self.name).size == self.num_bytes
        except S3Error:
            return False


def unfinished(client: Minio, bucket: str, prefix: str) -> Iterator[tuple[str, str, datetime]]:
    """Uploads below a prefix that nobody has made one of: name, number and time of their beginning."""
    try:
        listed = client._list_multipart_uploads(bucket, prefix=prefix)
    except S3Error as error:
        if error.code not in _UNTOLD:
            raise
        return
    for each in listed.uploads:
        if each.upload_id and each.initiated_time:
            yield each.object_name, each.upload_id, each.initiated_time


def give_up(client: Minio, bucket: str, name: str, upload: str) -> None:
    """Remove an upload and its parts."""
    client._abort_multipart_upload(bucket, name, upload)
