"""Every overlay renders to what a cluster takes, and nothing in it runs as root or tells a secret."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
from vermeil_gateway.settings import GatewaySettings
from vermeil_settings import CommonSettings

from .policies import Network, pods_in

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


def test_images_that_were_loaded_into_a_node_are_not_asked_for_elsewhere(objects: list[Object]) -> None:
    """Without a tag, as ours are here, the default is to pull each time."""
    for name, pod in _pods(objects):
        for container in pod["containers"]:
            if container["image"].startswith("vermeil/"):
                assert container["imagePullPolicy"] == "IfNotPresent", name


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
    speaking = {
        name: pod for name, pod in pods.items() if name != "Deployment demo" and "CronJob" not in name
    }
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


def test_only_who_uses_broker_and_store_has_their_secrets(rendered: Render) -> None:
    objects = rendered("overlays/production")
    known = {each.name: each for each in pods_in(objects)}
    network = Network(objects)
    for title, pod in _pods(objects):
        name = title.split()[1]
        (container,) = pod["containers"]
        secrets = {each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each}
        for secret, port in (
            ("vermeil-database", 5432),
            ("vermeil-broker", 5672),
            ("vermeil-artifacts", 443),
        ):
            assert (secret in secrets) == network.lets_out(known[name], port), (name, secret)


def test_who_is_replaced_has_the_time_to_finish_what_it_has_begun(rendered: Render) -> None:
    longest_answer = _default(GatewaySettings, "gateway_generation_timeout")
    for name, pod in _pods(rendered("overlays/gpu")):
        (container,) = pod["containers"]
        told = {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}
        drains = float(
            told.get("VERMEIL_GATEWAY_DRAIN_TIMEOUT")
            or told.get("VERMEIL_RPC_GRACE_SECONDS")
            or _default(CommonSettings, "rpc_grace_seconds")
        )
        if name in ("Deployment gateway", "Deployment generator"):
            assert drains > longest_answer, name
        drains += container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod.get("terminationGracePeriodSeconds", 30) >= drains + 10, name


def test_a_replaced_generator_is_never_the_last_of_several(rendered: Render) -> None:
    for each in rendered("overlays/gpu"):
        if each["kind"] == "Deployment":
            strategy = each["spec"].get("strategy", {"type": "RollingUpdate"})
            assert strategy["type"] == "RollingUpdate", each["metadata"]["name"]
            rolling = strategy.get("rollingUpdate", {"maxUnavailable": 0})
            assert rolling["maxUnavailable"] in (0, 1), each["metadata"]["name"]


def test_budgets_let_the_only_pod_of_a_service_go(rendered: Render) -> None:
    budgets = [each for each in rendered("base") if each["kind"] == "PodDisruptionBudget"]
    assert {each["metadata"]["name"] for each in budgets} == {"gateway", "generator", "registry"}
    for each in budgets:
        name = each["metadata"]["name"]
        assert each["spec"]["maxUnavailable"] == 1, (
            "with minAvailable: 1 a node with one pod is never drained"
        )
        assert each["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}


def test_what_is_scaled_has_no_number_of_its_own_and_is_there(rendered: Render) -> None:
    objects = rendered("overlays/production")
    deployments = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Deployment"}
    scaled = [each["spec"] for each in objects if each["kind"] == "HorizontalPodAutoscaler"]
    assert {each["scaleTargetRef"]["name"] for each in scaled} == {
        "gateway",
        "generator",
        *(name for name in deployments if name.endswith("-worker")),
    }
    for each in scaled:
        assert "replicas" not in deployments[each["scaleTargetRef"]["name"]]


def _default(settings: type[CommonSettings], field: str) -> float:
    return float(settings.model_fields[field].default)
