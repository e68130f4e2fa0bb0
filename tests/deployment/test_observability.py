"""Alerts and dashboards ask for metrics that exist, and every alert has its page in the runbook."""

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from vermeil_build.tree import ROOT
from vermeil_telemetry import gpus

from .conftest import SERVICES

FOLDER = ROOT / "infra" / "observability"
_MADE = re.compile(r'\b(counter|gauge|histogram)\(\s*"([a-z_]+)"')
_ASKED = re.compile(r"\bvermeil_[a-z_]+\b")
_SHOWN = {
    "jobs": "vermeil_job_seconds_count",
    "queues": "vermeil_queue_jobs",
    "tokens": "vermeil_gateway_tokens_total",
    "errors": "vermeil_rpc_server_seconds_count",
    "GPUs": "vermeil_gpu_utilization_ratio",
}
_ENDINGS = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


def _metrics() -> set[str]:
    names = set()
    for folder in ("libs", "services"):
        for file in (ROOT / folder).rglob("vermeil_*/**/*.py"):
            for kind, name in _MADE.findall(file.read_text(encoding="utf-8")):
                names |= {f"vermeil_{name}{ending}" for ending in _ENDINGS[kind]}
    return names | {f"vermeil_gpu_{name}" for name in gpus.NAMES}


def _expressions() -> list[str]:
    dashboard = json.loads((FOLDER / "dashboards" / "vermeil.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_and_dashboards_ask_for_metrics_that_exist() -> None:
    asked = [*_expressions(), *(rule["expr"] for rule in _rules())]
    names = {name for expression in asked for name in _ASKED.findall(expression)}
    assert names
    assert names <= _metrics()


@pytest.mark.parametrize(("what", "metric"), _SHOWN.items())
def test_the_dashboard_shows_what_operators_look_for(what: str, metric: str) -> None:
    assert any(metric in expression for expression in _expressions()), what


def test_every_alert_has_its_page_in_the_runbook() -> None:
    titles = re.findall(r"^## (\w+)$", (FOLDER / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(titles) == sorted(rule["alert"] for rule in _rules())
    for rule in _rules():
        assert rule["annotations"]["runbook"] == f"runbook.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("page", ["docs/threat-model.md", "infra/observability/runbook.md"])
def test_pages_for_operators_name_variables_and_files_that_exist(page: str, variables: set[str]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"VERMEIL_[A-Z0-9_]+", text)) <= variables
    linked = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    assert [each for each in linked if not ((ROOT / page).parent / each).exists()] == []


def test_prometheus_takes_the_rules_and_its_settings() -> None:
    _check("rules", "alerts.yaml", FOLDER)
    _check("config", "prometheus.yaml", FOLDER)


def test_prometheus_asks_every_process_of_compose_where_it_tells_its_numbers() -> None:
    asked = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    (targets,) = (each["targets"] for config in asked for each in config["static_configs"])
    compose = yaml.safe_load((ROOT / "infra/compose/compose.yaml").read_text(encoding="utf-8"))["services"]
    telling = {
        f"{name}:{service['environment']['VERMEIL_METRICS_PORT']}"
        for name, service in compose.items()
        if service["image"].startswith("vermeil/") and "profiles" not in service and name != "bucket"
    }
    assert set(targets) == telling


@pytest.mark.parametrize("service", SERVICES)
def test_every_process_tells_its_numbers_on_the_port_of_the_settings(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(Exception):  # noqa: N818  not an error: the test has seen enough
        pass

    def tell(port: int | None) -> None:
        raise Told(port)

    process = importlib.import_module(f"vermeil_{service}.__main__")
    monkeypatch.setattr(process, "start_metrics_server", tell)
    monkeypatch.setattr(process, "configure", lambda *_, **__: None)
    monkeypatch.setenv("VERMEIL_METRICS_PORT", "9090")
    with pytest.raises(Told, match="9090"):
        process.main()


def test_the_settings_for_a_cluster_keep_one_port_of_each_pod_under_the_name_that_alerts_ask_for(
    tmp_path: Path,
) -> None:
    settings = yaml.safe_load((FOLDER / "prometheus-kubernetes.yaml").read_text(encoding="utf-8"))
    (job,) = settings["scrape_configs"]
    assert all(f'job="{job["job_name"]}"' in rule["expr"] for rule in _rules() if "up{" in rule["expr"])
    found = job.pop("kubernetes_sd_configs")  # Debian's promtool is built without
    assert found == [
        {"role": "pod", "selectors": [{"role": "pod", "label": "app.kubernetes.io/part-of=vermeil"}]}
    ]
    shutil.copy(FOLDER / "alerts.yaml", tmp_path)
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    _check("config", "prometheus.yaml", tmp_path)


def test_what_dashboards_and_the_adapter_ask_is_promql(tmp_path: Path) -> None:
    dashboard = json.loads((FOLDER / "dashboards" / "vermeil.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    adapter = yaml.safe_load((FOLDER / "adapter.yaml").read_text(encoding="utf-8"))["rules"]
    for rule in (*adapter["custom"], *adapter["external"]):
        series = rule["seriesQuery"].partition("{")[0]
        asked.append(rule["seriesQuery"])
        filled = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
        asked.append(filled.replace("<<.LabelMatchers>>", 'namespace="vermeil"'))
    rules = [{"record": f"asked:{number}", "expr": each} for number, each in enumerate(asked)]
    text = yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]})
    (tmp_path / "asked.yaml").write_text(text, encoding="utf-8")
    _check("rules", "asked.yaml", tmp_path)


def _check(what: str, file: str, folder: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, which Debian's package prometheus brings")
    done = subprocess.run(
        [promtool, "check", what, file], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
