"""The services of Compose speak to one another by the names and settings that the code knows."""

from typing import Any

import pytest
import yaml
from vermeil_build.image import project
from vermeil_build.tree import ROOT
from vermeil_gateway.settings import GatewaySettings
from vermeil_settings import CommonSettings

SERVERS = {"postgres", "redis", "s3", "prometheus", "grafana"}
ERRANDS = {"backup", "bucket"}
"""Of ours, what does one thing and ends."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """By name, with what they share merged in."""
    text = (ROOT / "infra/compose/compose.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_ours_are_no_root_and_write_to_no_root_filesystem(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name not in SERVERS:
            assert service["user"] == "10001:10001", name
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name


def test_every_variable_is_read_by_somebody(services: dict[str, Any], variables: set[str]) -> None:
    for name, service in services.items():
        ours = {each for each in service.get("environment", {}) if each.startswith("VERMEIL_")}
        assert ours <= variables | {"VERMEIL_URL", "VERMEIL_API_KEY"}, name


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if any(
                word in variable for word in ("PASSWORD", "_PASS", "SECRET", "TOKEN", "API_KEY", "BROKER")
            ):
                assert "${" in value, (name, variable)
                assert ":?" in value, (name, variable)


def test_whoever_calls_services_speaks_tls_with_the_overlay(services: dict[str, Any]) -> None:
    text = (ROOT / "infra/compose/compose.tls.yaml").read_text(encoding="utf-8")
    overlay = yaml.safe_load(text)["services"]
    assert overlay.keys() == services.keys() - SERVERS - ERRANDS - {"demo"}
    for name in overlay:
        probe = services[name].get("healthcheck", {}).get("test", [])
        assert "127.0.0.1" not in " ".join(probe) or "http" in probe[-1], name


def test_whoever_answers_is_asked_for_its_health_by_what_its_image_holds(services: dict[str, Any]) -> None:
    answering = {
        name: service
        for name, service in services.items()
        if name not in SERVERS | ERRANDS and service.get("command") != ["worker"]
    }
    assert "demo" in answering
    for name, service in answering.items():
        probe = service["healthcheck"]["test"]
        assert probe[:2] == ["CMD", "python"], name  # there is no shell
        dependencies = project(ROOT / service["build"]["args"]["UNIT"])["dependencies"]
        assert ("vermeil_rpc.probe" in probe) == ("vermeil-rpc" in dependencies), name
        (bind,) = (value for key, value in service["environment"].items() if key.endswith("BIND"))
        assert "http" not in probe[-1] or f"127.0.0.1:{bind.split(':')[1]}/" in probe[-1], name


def test_whoever_opens_the_store_waits_for_its_bucket(services: dict[str, Any]) -> None:
    """A server that begins empty has none, and services only look for it."""
    opening = {
        name
        for name, service in services.items()
        if "VERMEIL_ARTIFACTS_URL" in service.get("environment", {}) and name != "bucket"
    }
    assert len(opening) > 10
    for name in opening:
        wanted = services[name]["depends_on"].get("bucket", {}).get("condition")
        assert wanted == "service_completed_successfully", name


def test_images_are_built_of_units_that_exist_and_on_torch_if_they_compute(services: dict[str, Any]) -> None:
    built = {}
    for service in services.values():
        if "build" in service:
            arguments = service["build"]["args"]
            unit = arguments["UNIT"]
            needs_torch = "vermeil-model" in project(ROOT / unit)["dependencies"]
            assert arguments.get("LAYER") == ("torch" if needs_torch else None), unit
            built[service["image"]] = unit
    used = {service["image"] for name, service in services.items() if name not in SERVERS}
    assert used == built.keys()


def test_only_doors_are_open_and_only_on_this_machine(services: dict[str, Any]) -> None:
    open_ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert open_ports.keys() == {"gateway", "demo", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in open_ports.values() for port in ports)


def test_who_is_stopped_has_the_time_to_finish_what_it_has_begun(services: dict[str, Any]) -> None:
    drain = max(
        float(CommonSettings.model_fields["rpc_grace_seconds"].default),
        float(GatewaySettings.model_fields["gateway_drain_timeout"].default),
    )
    seconds = {"30s": 30, "2m": 120}
    for name, service in services.items():
        if name not in SERVERS:
            assert seconds[service["stop_grace_period"]] >= drain + 10, name


def test_only_who_uses_database_broker_and_store_has_their_secrets(services: dict[str, Any]) -> None:
    def having(variable: str) -> set[str]:
        return {name for name, service in services.items() if variable in service.get("environment", {})}

    workers = {name for name, service in services.items() if service.get("command") == ["worker"]}
    assert having("VERMEIL_DATABASE_URL") == {"registry", "backup"}
    assert having("VERMEIL_BROKER_URL") == {"registry"} | workers
    assert having("VERMEIL_S3_SECRET_KEY") == workers | {
        "backup",
        "bucket",
        "gateway",
        "generator",
        "evaluator",
        "encoder-text",
        "encoder-image",
    }
