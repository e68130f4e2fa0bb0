"""Resource names: how they are written, and what to say when they are not.

Names become keys of rows and folders of jobs, so nothing but these characters ever gets that far.
"""

import re
import secrets
from datetime import datetime

from vermeil_errors import InvalidInput

DEFAULT_OWNER = "owners/default"
COLLECTIONS = ("datasets", "models")

_JOB = re.compile(r"jobs/([a-z0-9]{1,63})")
_LINE = re.compile(r"[a-z][a-z0-9-]{0,62}")
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_QUEUE = re.compile(r"[a-z][a-z0-9-]{0,62}")
_OWNER = re.compile(r"owners/[a-z][a-z0-9-]{0,62}")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_job_name(now: datetime) -> str:
    """A name nobody has yet; names sort by the time of their making."""
    milliseconds = int(now.timestamp() * 1000)
    return f"jobs/{_base32(milliseconds, 10)}{_base32(secrets.randbits(40), 8)}"


def job_id(name: str, field: str = "name") -> str:
    """The part after "jobs/"; safe as the name of a folder."""
    match = _JOB.fullmatch(name)
    if match is None:
        raise InvalidInput.for_field(field, name, "is not the name of a job", 'write "jobs/" and its id')
    return match[1]


def check_line(collection: str, name: str, field: str) -> str:
    """Check "datasets/{dataset}" or "models/{model}"; return it."""
    head, _, tail = name.partition("/")
    if head != collection or not _LINE.fullmatch(tail):
        raise InvalidInput.for_field(
            field,
            name,
            f"is not the name of a {collection[:-1]}",
            f'write "{collection}/" and 1 to 63 characters of a-z, 0-9 and "-", starting with a letter',
        )
    return name


def split_version(collection: str, name: str, field: str) -> tuple[str, int | None]:
    """The line and the number of "datasets/x/versions/3"; "datasets/x" has no number: the newest."""
    line, mark, number = name.partition("/versions/")
    check_line(collection, line, field)
    if not mark:
        return line, None
    if not (number.isascii() and number.isdecimal() and len(number) < 10 and not number.startswith("0")):
        raise InvalidInput.for_field(
            field, name, "is not the name of a version", f'write "{line}/versions/" and a number from 1'
        )
    return line, int(number)


def version_name(line: str, number: int) -> str:
    """ "datasets/x", 3 → "datasets/x/versions/3"."""
    return f"{line}/versions/{number}"


def check_kind(kind: str) -> None:
    """Refuse what is not a Celery task name."""
    if len(kind) > 200 or not _KIND.fullmatch(kind):
        raise InvalidInput.for_field(
            "kind", kind, "is not the name of a task", 'write for example "vermeil.trainer.v1.train"'
        )


def check_queue(queue: str) -> None:
    """Refuse what is not a queue."""
    if not _QUEUE.fullmatch(queue):
        raise InvalidInput.for_field(
            "queue", queue, "is not the name of a queue", 'write for example "trainer"'
        )


def check_owner(owner: str, field: str) -> None:
    """Refuse what is not the name of an owner."""
    if not _OWNER.fullmatch(owner):
        fix = 'write "owners/" and 1 to 63 characters of a-z, 0-9 and "-", starting with a letter'
        raise InvalidInput.for_field(field, owner, "is not the name of an owner", fix)


def check_request_id(request_id: str) -> None:
    """Refuse an id that is missing, too long or not printable."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidInput.for_field(
            "request_id",
            request_id,
            "is required" if not request_id else "is not 1 to 128 printable characters without spaces",
            "choose any new id, such as 16 hexadecimal digits, and send it again when you retry",
        )


def _base32(number: int, width: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (width - 1), -1, -5))
