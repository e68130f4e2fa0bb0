"""`vermeil doctor --deployment`: what the settings name, looked at from here, one finding at a time.

Asks as a service would: by the same addresses, token and certificates. It changes nothing but a probe
of a few bytes in the store, the same for every look.
"""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from vermeil_artifacts import store_from_settings
from vermeil_client.settings import ClientSettings
from vermeil_errors import VermeilError
from vermeil_registry.by_hand import HouseSettings
from vermeil_registry.state import State, look, skew_seconds
from vermeil_rpc import connect
from vermeil_rpc.health import VERSION_KEY
from vermeil_settings import code_version

from vermeil_local.doctor import Finding, attempt, look_at_broker, without_password

_SECONDS = 5.0
_MOST_SKEW = 2.0
"""Seconds; leases and ends of keys are judged by the clocks of registry and gateway."""


def examine_deployment() -> Iterator[Finding]:
    """Look at services, database, store, broker and gateway of the environment's settings."""
    settings, versions = HouseSettings.load(), Versions()
    for name in sorted(type(settings).model_fields):
        if name.endswith("_address"):
            title = name.removesuffix("_address").replace("_", " ")
            yield _service(title, getattr(settings, name), settings, versions)
    yield from _database(settings)
    yield _store(settings)
    yield look_at_broker(settings)
    yield from _gateway(ClientSettings.load(), versions)
    yield versions.compared()


class Versions:
    """Which code each of those runs that could be asked."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def note(self, name: str, version: str | None) -> str:
        """Keep it, and give it as it is shown; those from before the question say none."""
        shown = version or "unknown"
        self._names.setdefault(shown, []).append(name)
        return f"version {shown}"

    def compared(self) -> Finding:
        """Whether all are of one version, which is this one."""
        here = code_version()
        if self._names.keys() <= {here}:
            return Finding("versions", "ok", f"all that answer run {here}, as this does")
        told = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(self._names.items()))
        return Finding("versions", "warning", f"{told}; this command: {here}; bring all to one version")


def _service(name: str, address: str, settings: HouseSettings, versions: Versions) -> Finding:
    try:
        with connect(address, token=settings.token, tls=settings.tls) as channel:
            answer, call = HealthStub(channel).Check.with_call(HealthCheckRequest(), timeout=_SECONDS)
            trailers = dict(call.trailing_metadata() or ())
    except VermeilError as error:
        return Finding(name, "problem", str(error))
    told = HealthCheckResponse.ServingStatus.Name(answer.status).lower().replace("_", " ")
    how = "TLS" if settings.tls and not address.startswith("unix:") else "plain"
    is_well = answer.status == HealthCheckResponse.SERVING
    version = versions.note(name, trailers.get(VERSION_KEY))
    return Finding(name, "ok" if is_well else "problem", f"{told} at {address} ({how}), {version}")


def _database(settings: HouseSettings) -> Iterator[Finding]:
    try:
        state = look(settings.database_url)
    except VermeilError as error:
        yield Finding("database", "problem", str(error))
        return
    yield _form(state, without_password(settings.database_url))
    yield _clock("database's clock", state.skew_seconds)


def _form(state: State, url: str) -> Finding:
    if state.revision is None:
        return Finding(
            "database", "warning", f"{url} has no tables yet: the registry makes them when it starts"
        )
    if state.revision == state.newest:
        return Finding("database", "ok", f"{url} at revision {state.revision}")
    advice = (
        "start the registry of this version" if state.revision < state.newest else "use a newer version here"
    )
    detail = f"{url} is at revision {state.revision}, this version knows {state.newest}: {advice}"
    return Finding("database", "warning", detail)


def _store(settings: HouseSettings) -> Finding:
    def write_and_read() -> None:
        store = store_from_settings(settings)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "probe").write_text("vermeil doctor\n")
            digest = store.publish(Path(folder), kind="probe").digest
        with store.open(digest, "probe") as file:
            file.read()

    return attempt("store", write_and_read, f"{settings.artifacts_url} is written and read")


def _gateway(settings: ClientSettings, versions: Versions) -> Iterator[Finding]:
    try:
        url = settings.gateway_url()
    except VermeilError as error:
        yield Finding("gateway", "problem", str(error))
        return
    before = datetime.now(UTC)
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_SECONDS)
    except httpx.TransportError as error:
        yield Finding("gateway", "problem", f"{url} cannot be reached: {error}; set VERMEIL_URL")
        return
    after = datetime.now(UTC)
    verdict = "ready" if answer.is_success else f"not ready: {answer.text[:200]}"
    version = versions.note("gateway", _version_in(answer))
    yield Finding("gateway", "ok" if answer.is_success else "problem", f"{url} is {verdict}, {version}")
    if "date" in answer.headers:
        # In whole seconds, rounded down, and renewed every second.
        told = parsedate_to_datetime(answer.headers["date"])
        yield _clock("gateway's clock", skew_seconds(told, before, after, told_within=2))


def _version_in(answer: httpx.Response) -> str | None:
    try:
        return str(answer.json()["version"])
    except (ValueError, KeyError, TypeError):
        return None


def _clock(name: str, skew: float) -> Finding:
    if abs(skew) <= _MOST_SKEW:
        return Finding(name, "ok", f"within {_MOST_SKEW:g} s of this one")
    ahead = "ahead of" if skew > 0 else "behind"
    return Finding(name, "problem", f"{abs(skew):.0f} s {ahead} this one: let both keep time by NTP")
