"""Every overlay renders to what a cluster takes, and nothing in it runs as root or tells a secret."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

OVERLAYS = ("base", "overlays/local", "overlays/production", "overlays/gpu", "training")
KUBERNETES = "1.35"
Object = dict[str, Any]
Render = Callable[[str], list[Object]]


@pytest.fixture(params=OVERLAYS)
def objects(rendered: Render, request: pytest.FixtureRequest) -> list[Object]:
    """Of one overlay."""
    return rendered(request.param)


def _pods(objects: list[Object]) -> list[tuple[str, Object]]:
    found = []
    for each in objects:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append((f"{each['kind']} {each['metadata']['name']}", spec["template"]["spec"]))
    return found


def test_every_object_is_one_of_kubernetes(objects: list[Object]) -> None:
    for each in objects:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_nothing_runs_as_root_or_may_become_it(objects: list[Object]) -> None:
    for name, pod in _pods(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name


def test_ours_write_to_no_root_filesystem(objects: list[Object]) -> None:
    for name, pod in _pods(objects):
        for container in pod["containers"]:
            if container["image"].startswith("vermeil/"):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_no_secret_is_in_what_is_rendered(objects: list[Object]) -> None:
    assert not [each for each in objects if each["kind"] == "Secret"]
    for name, pod in _pods(objects):
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                spelled = variable["name"]
                assert (
                    not any(word in spelled for word in ("PASSWORD", "SECRET", "TOKEN", "_KEY"))
                    or spelled == "VERMEIL_TLS_KEY"
                ), (
                    name,
                    spelled,
                )


def test_every_pod_says_what_it_needs_and_how_it_is(objects: list[Object]) -> None:
    for name, pod in _pods(objects):
        for container in pod["containers"]:
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            if not name.startswith(("Job", "CronJob")):
                assert "livenessProbe" in container, name


def test_every_variable_is_read_by_somebody(objects: list[Object], variables: set[str]) -> None:
    told: set[str] = set()
    for each in objects:
        if each["kind"] == "ConfigMap":
            told |= each["data"].keys()
    for _, pod in _pods(objects):
        told |= {variable["name"] for container in pod["containers"] for variable in container.get("env", ())}
    assert {name for name in told if name.startswith("VERMEIL_")} <= variables | {"VERMEIL_URL"}


def test_secrets_and_settings_reach_the_pods_that_need_them(rendered: Render) -> None:
    known = dict(_pods(rendered("base")))

    def sources(name: str) -> set[str]:
        (container,) = known[f"Deployment {name}"]["containers"]
        return {next(iter(each.values()))["name"].split("-config")[0] for each in container["envFrom"]}

    assert sources("registry") == {"vermeil", "vermeil-service-token", "vermeil-database", "vermeil-broker"}
    assert sources("demo") == {"vermeil", "vermeil-demo"}
    assert "vermeil-database" not in set().union(
        *(sources(name.split()[1]) for name in known if name != "Deployment registry")
    )


def test_production_speaks_tls_between_services_and_asks_for_health_by_it(rendered: Render) -> None:
    pods = dict(_pods(rendered("overlays/production")))
    speaking = {name: pod for name, pod in pods.items() if name not in ("Deployment demo", "CronJob backup")}
    assert len(speaking) > 10
    for name, pod in speaking.items():
        (container,) = pod["containers"]
        folder = "/etc/vermeil/tls"
        assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}, name
        told = {each["name"]: each["value"] for each in container["env"]}
        for variable in ("VERMEIL_TLS_CA", "VERMEIL_TLS_CERTIFICATE", "VERMEIL_TLS_KEY"):
            assert told[variable].startswith(folder), name
        assert not any("grpc" in probe for key, probe in container.items() if key.endswith("Probe")), name


def test_addresses_are_those_of_the_services(rendered: Render) -> None:
    objects = rendered("base")
    ports = {
        each["metadata"]["name"]: each["spec"]["ports"][0]["port"]
        for each in objects
        if each["kind"] == "Service"
    }
    (config,) = (each["data"] for each in objects if each["kind"] == "ConfigMap")
    for name, address in config.items():
        if name.endswith("_ADDRESS"):
            host, _, port = address.partition(":")
            assert ports[host] == int(port), name
