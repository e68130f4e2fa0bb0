"""Network policies let through what the architecture has, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from .policies import Network, Pod, pods_in

Render = Callable[[str], list[dict[str, Any]]]

API = {"registry", "ingest", "encoder-text", "encoder-image", "trainer", "evaluator", "generator"}
WORKERS = {f"{name}-worker" for name in ("ingest", "encoder-text", "encoder-image", "trainer", "evaluator")}
STORING = {"gateway", "generator", "evaluator", "encoder-text", "encoder-image"} | WORKERS
RINGING = {"registry"} | WORKERS

CONNECTIONS = {
    ("demo", "gateway", "http"),
    *(("gateway", name, "grpc") for name in API),
    *((name, "registry", "grpc") for name in API - {"registry"} | WORKERS),
    *(
        (name, f"encoder-{kind}", "grpc")
        for name in ("trainer", "trainer-worker")
        for kind in ("text", "image")
    ),
    ("registry", "postgres", "main"),
    *((name, "rabbitmq", "main") for name in RINGING),
    *((name, "s3", "main") for name in STORING | {"bucket"}),
}
"""From whom, to whom, to which port: all there are."""

DATABASE, BROKER, STORE = {5432}, {5671, 5672, 6379}, {443}
OUTSIDE = {
    "registry": DATABASE | BROKER,
    "backup": DATABASE | STORE,
    "collect": DATABASE | STORE,
    "torchrun": set(),
    "demo": set(),
    **dict.fromkeys(STORING - WORKERS, STORE),
    **dict.fromkeys(WORKERS, STORE | BROKER),
}
"""Ports of servers somewhere else that a pod may reach; of all others none."""


def test_pods_reach_one_another_as_the_architecture_has_it_and_not_otherwise(rendered: Render) -> None:
    objects = rendered("overlays/local")
    network, pods = Network(objects), list(pods_in(objects))
    assert {
        (source.name, target.name, port)
        for source in pods
        for target in pods
        for port in target.ports
        if source is not target and network.lets_through(source, target, port)
    } == CONNECTIONS


@pytest.mark.parametrize("overlay", ["base", "overlays/production", "overlays/gpu"])
def test_only_who_needs_a_server_gets_out_to_it(rendered: Render, overlay: str) -> None:
    objects = [*rendered(overlay), *rendered("training")]
    network = Network(objects)
    ports = DATABASE | BROKER | STORE | {22, 25, 80, 587, 3306, 6443, 8080, 8333, 9000, 29400}
    for pod in pods_in(objects):
        reached = {port for port in ports if network.lets_out(pod, port)}
        assert reached == OUTSIDE.get(pod.name, set()), pod.name


def test_no_pod_of_the_local_overlay_gets_out(rendered: Render) -> None:
    objects = rendered("overlays/local")
    network = Network(objects)
    for pod in pods_in(objects):
        assert not [port for port in (443, 5432, 5672, 8333) if network.lets_out(pod, port)], pod.name


@pytest.mark.parametrize("overlay", ["overlays/local", "overlays/production", "overlays/gpu"])
def test_prometheus_reaches_the_numbers_of_every_process_and_strangers_none(
    rendered: Render, overlay: str
) -> None:
    objects = rendered(overlay)
    network = Network(objects)
    prometheus = Pod("p", {"app.kubernetes.io/name": "prometheus"}, namespace="monitoring")
    stranger = Pod("s", {"app.kubernetes.io/name": "curious"}, namespace="monitoring")
    asked = [pod for pod in pods_in(objects) if pod.name in API | WORKERS | {"gateway", "demo"}]
    assert len(asked) == 14
    for pod in asked:
        assert network.lets_through(prometheus, pod, "metrics"), pod.name
        doors = {port for port in pod.ports if network.lets_through(stranger, pod, port)}
        assert doors == ({"http"} if pod.name in ("gateway", "demo") else set()), pod.name


@pytest.mark.parametrize("overlays", [("base",), ("overlays/production",), ("training",)])
def test_every_pod_finds_names_also_where_one_overlay_stands_alone(
    rendered: Render, overlays: tuple[str, ...]
) -> None:
    objects = [each for overlay in overlays for each in rendered(overlay)]
    network = Network(objects)
    names = Pod("dns", {"k8s-app": "kube-dns"}, {"dns": 53}, namespace="kube-system")
    for pod in pods_in(objects):
        assert network.lets_through(pod, names, "dns", "UDP"), pod.name
        assert network.lets_through(pod, names, "dns", "TCP"), pod.name


def test_ranks_of_a_training_reach_each_other_on_any_port_and_nobody_else(rendered: Render) -> None:
    objects = [*rendered("training"), *rendered("overlays/production")]
    network, pods = Network(objects), list(pods_in(objects))
    (rank,) = (Pod(pod.name, pod.labels, {"store": 43210}) for pod in pods if pod.name == "torchrun")
    assert network.lets_through(rank, rank, "store")
    for pod in pods:
        assert pod.name == "torchrun" or not any(
            network.lets_through(rank, pod, port) for port in pod.ports
        ), pod.name
