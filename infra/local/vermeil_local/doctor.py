"""`vermeil doctor`: what this machine has, what is missing, and what to do about it."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psutil
from kombu.exceptions import OperationalError
from vermeil_errors import Unavailable, VermeilError
from vermeil_jobs import make_app
from vermeil_settings import BrokerSettings

from vermeil_local.home import Home
from vermeil_local.ports import require_free
from vermeil_local.settings import LocalSettings

_TESTED_PYTHON = "3.11."
_GIB = 2**30
_LEAST_DISK = 2 * _GIB
_LEAST_MEMORY = 4 * _GIB
_SECRET_PARAMETER = re.compile(r"([?&]password=)[^&]*")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """What it is."""
    verdict: Literal["ok", "warning", "problem"]
    """problem: Vermeil will not run; warning: it will, but worse."""
    detail: str
    """What was seen, and what to do if it is not well."""


def examine(settings: LocalSettings) -> Iterator[Finding]:
    """Look at everything a local Vermeil needs, one finding at a time."""
    home = Home(settings.home)
    yield _python()
    yield _torch()
    yield from _packages()
    yield _home(home)
    yield _disk(settings)
    yield _memory()
    running = home.running()
    for name, address in (("VERMEIL_BIND", settings.bind), ("VERMEIL_HTTP_BIND", settings.http_bind)):
        yield Finding(name, "ok", f"in use by this home ({address})") if running else _port(name, address)
    yield look_at_broker(settings)


def _python() -> Finding:
    version = platform.python_version()
    if version.startswith(_TESTED_PYTHON):
        return Finding("python", "ok", f"{version} on {platform.machine()}")
    return Finding("python", "warning", f"{version}; the pins are tested with 3.11")


def _torch() -> Finding:
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("torchvision")
        importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("torch", "problem", f"{error}; run `make setup` to install the matching three")
    device = "cpu"
    if torch.cuda.is_available():
        device = f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return Finding("torch", "ok", f"{torch.__version__} with torchvision and torchaudio · {device}")


def _packages() -> Iterator[Finding]:
    for name in ("grpcio", "celery", "transformers", "pyarrow"):
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "problem", "not installed; run `make setup`")


def _home(home: Home) -> Finding:
    return attempt("home", home.prepare, f"{home.path} is writable")


def _disk(settings: LocalSettings) -> Finding:
    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    verdict: Literal["ok", "warning"] = "ok" if free >= _LEAST_DISK else "warning"
    advice = "" if verdict == "ok" else "; models and datasets need more: free some, or move VERMEIL_HOME"
    return Finding("disk", verdict, f"{free / _GIB:.1f} GiB free at {place}{advice}")


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    verdict: Literal["ok", "warning"] = "ok" if free >= _LEAST_MEMORY else "warning"
    return Finding("memory", verdict, f"{free / _GIB:.1f} GiB available, {os.cpu_count()} processors")


def _port(name: str, address: str) -> Finding:
    return attempt(name, lambda: require_free(name, address), f"{address} is free")


def look_at_broker(settings: BrokerSettings) -> Finding:
    """Whether queues can be reached."""

    where = without_password(settings.broker_url)

    def connect() -> None:
        try:
            with make_app(settings.broker_url, settings.home).connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
        except OperationalError as error:
            raise Unavailable(f"{where} does not answer: {error}", fix="check VERMEIL_BROKER_URL") from error

    return attempt("broker", connect, where)


def without_password(url: str) -> str:
    """What may be shown of an address, also of one whose password has characters that no URL may have."""
    head, slashes, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{head}{slashes}{user}{colon}…@{place}" if at and colon else url
    return _SECRET_PARAMETER.sub(r"\1…", shown)


def attempt(name: str, work: Callable[[], object], well: str) -> Finding:
    """What became of trying; `well` is said if nothing was raised."""
    try:
        work()
    except (VermeilError, OSError) as error:
        return Finding(name, "problem", str(error))
    return Finding(name, "ok", well)
