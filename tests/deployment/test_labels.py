"""What alerts, dashboards and scaling ask of metrics, down to the labels, is what the code tells."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from vermeil_build.tree import ROOT
from vermeil_telemetry import gpus

FOLDER = ROOT / "infra" / "observability"
_ASKED = re.compile(r"\b(vermeil_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_OF_PROMETHEUS = {"job", "instance", "namespace", "pod"}
_ENDINGS = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


def _made() -> Iterator[tuple[str, set[str]]]:
    """Every series of the code with its labels."""
    for name in gpus.NAMES:
        yield f"vermeil_gpu_{name}", {"gpu"}
    for folder in ("libs", "services"):
        for file in (ROOT / folder).rglob("vermeil_*/**/*.py"):
            for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                kind = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
                if kind in _ENDINGS and isinstance(call.args[0], ast.Constant):
                    labels = set(ast.literal_eval(call.args[2])) if len(call.args) > 2 else set()
                    for ending in _ENDINGS[kind]:
                        yield (
                            f"vermeil_{call.args[0].value}{ending}",
                            labels | ({"le"} if ending == "_bucket" else set()),
                        )


@pytest.fixture(scope="module")
def made() -> dict[str, set[str]]:
    """Labels by series."""
    return dict(_made())


def _adapter() -> dict[str, list[dict[str, str]]]:
    rules: dict[str, list[dict[str, str]]] = yaml.safe_load((FOLDER / "adapter.yaml").read_text("utf-8"))[
        "rules"
    ]
    return rules


def _expressions() -> list[str]:
    dashboard = json.loads((FOLDER / "dashboards" / "vermeil.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    asked += [rule["expr"] for group in groups for rule in group["rules"]]
    rules = _adapter()
    return asked + [rule["seriesQuery"] for rule in (*rules["custom"], *rules["external"])]


@pytest.mark.parametrize("expression", _expressions())
def test_every_label_that_is_asked_for_is_told(made: dict[str, set[str]], expression: str) -> None:
    known = set(_OF_PROMETHEUS)
    for name, matchers in _ASKED.findall(expression):
        assert set(_MATCHED.findall(re.sub(r'"[^"]*"', "", matchers))) <= made[name] | _OF_PROMETHEUS, name
        known |= made[name]
    for group in _GROUPED.findall(expression):
        assert {each.strip() for each in group.split(",")} <= known


def test_what_pods_are_scaled_by_is_brought_to_the_metrics_api(
    rendered: Callable[[str], list[dict[str, Any]]],
) -> None:
    rules = _adapter()
    brought = {
        kind: {rule["seriesQuery"].partition("{")[0] for rule in rules[kind]} for kind in rules if rules[kind]
    }
    asked: dict[str, set[str]] = {"custom": set(), "external": set()}
    queues = set()
    for each in rendered("overlays/production"):
        if each["kind"] == "HorizontalPodAutoscaler":
            for metric in each["spec"]["metrics"]:
                if metric["type"] == "Pods":
                    asked["custom"].add(metric["pods"]["metric"]["name"])
                if metric["type"] == "External":
                    told = metric["external"]["metric"]
                    asked["external"].add(told["name"])
                    queue = told["selector"]["matchLabels"]["queue"]
                    assert f"{queue}-worker" == each["spec"]["scaleTargetRef"]["name"]
                    queues.add(queue)
    assert asked == brought
    for queue in queues:
        unit = ROOT / "services" / (queue.replace("encoder-", "encoders/"))
        sources = "".join(file.read_text(encoding="utf-8") for file in unit.rglob("vermeil_*/*.py"))
        assert f'"{queue}"' in sources, "the queue that its worker listens to"
