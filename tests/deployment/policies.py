"""Which connections the network policies of an overlay let through, worked out as a cluster would.

Knows selectors by label, named ports and directions; `ipBlock` is not used here and is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
HERE = "vermeil"


@dataclass(frozen=True)
class Pod:
    """Somebody who connects or is connected to."""

    name: str
    labels: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    """Numbers by name."""
    namespace: str = HERE


def pods_in(objects: Iterable[Object]) -> Iterator[Pod]:
    """One for each kind of pod that an overlay makes."""
    for each in objects:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            (container,) = spec["template"]["spec"]["containers"]
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            yield Pod(each["metadata"]["name"], spec["template"]["metadata"]["labels"], ports)


class Network:
    """The policies of one namespace."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._policies = [each["spec"] for each in objects if each["kind"] == "NetworkPolicy"]

    def lets_through(self, source: Pod, target: Pod, port: str, protocol: str = "TCP") -> bool:
        """Whether both ends allow it."""
        number = target.ports[port]
        leaves = self.lets_out(source, number, protocol, target)
        return leaves and self._allows("Ingress", target, source, port, number, protocol)

    def lets_out(self, source: Pod, number: int, protocol: str = "TCP", target: Pod | None = None) -> bool:
        """Whether a pod may connect to a port of another one, or of who knows whom outside."""
        names = {value: key for key, value in target.ports.items()} if target else {}
        return self._allows("Egress", source, target, names.get(number), number, protocol)

    def _allows(
        self, direction: str, pod: Pod, peer: Pod | None, port: str | None, number: int, protocol: str
    ) -> bool:
        if pod.namespace != HERE:
            return True
        rules = [
            rule
            for policy in self._policies
            if direction in policy["policyTypes"] and _selects(policy["podSelector"], pod.labels)
            for rule in [None, *policy.get(direction.lower(), [])]
        ]
        return not rules or any(
            rule is not None
            and _of_peer(rule.get("from" if direction == "Ingress" else "to"), peer)
            and _of_port(rule.get("ports"), port, number, protocol)
            for rule in rules
        )


def _of_peer(peers: list[Object] | None, pod: Pod | None) -> bool:
    if peers is None:
        return True
    return pod is not None and any(_is(each, pod) for each in peers)


def _is(peer: Object, pod: Pod) -> bool:
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    anywhere = peer.get("namespaceSelector") == {}
    assert anywhere or "namespaceSelector" not in peer
    return (anywhere or pod.namespace == HERE) and _selects(peer.get("podSelector", {}), pod.labels)


def _of_port(ports: list[Object] | None, name: str | None, number: int, protocol: str) -> bool:
    if ports is None:
        return True
    return any(each["port"] in (name, number) and each.get("protocol", "TCP") == protocol for each in ports)


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", ()):
        has = {
            "In": labels.get(each["key"]) in each.get("values", ()),
            "Exists": each["key"] in labels,
        }
        if not has[each["operator"]]:
            return False
    return True
