"""`vermeil doctor --deployment`: what answers is told apart from what does not, with what to do about it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from vermeil_client.commands.output import Output
from vermeil_gateway.testing import running_gateway
from vermeil_local.commands import add_commands
from vermeil_local.deployment import examine_deployment
from vermeil_local.doctor import Finding, look_at_broker, without_password
from vermeil_registry.by_hand import HouseSettings
from vermeil_registry.wiring import build
from vermeil_rpc.testing import running
from vermeil_settings import BrokerSettings, code_version
from vermeil_testing import Authority, free_port


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is there is waited for."""
    monkeypatch.setattr("vermeil_local.deployment._SECONDS", 60.0)


def _seen(monkeypatch: pytest.MonkeyPatch, **variables: object) -> dict[str, Finding]:
    for name, value in variables.items():
        monkeypatch.setenv(f"VERMEIL_{name}", str(value))
    return {finding.name: finding for finding in examine_deployment()}


def test_a_deployment_that_answers_is_well_by_tls_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ca, certificate, key = Authority(tmp_path / "tls").issue()
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    tls = {"TLS_CA": ca, "TLS_CERTIFICATE": certificate, "TLS_KEY": key}
    for name, value in tls.items():
        monkeypatch.setenv(f"VERMEIL_{name}", str(value))
    settings = HouseSettings.load(rpc_grace_seconds=0.1)
    with running(lambda: build(settings), settings=settings) as registry, running_gateway() as gateway:
        seen = _seen(
            monkeypatch,
            REGISTRY_ADDRESS=registry.address,
            TRAINER_ADDRESS=gateway.services_address,
            URL=gateway.url,
        )
    well = {name for name, finding in seen.items() if finding.verdict == "ok"}
    assert well >= {
        "registry",
        "database",
        "database's clock",
        "store",
        "broker",
        "gateway",
        "gateway's clock",
    }
    assert "(TLS)" in seen["registry"].detail
    assert all(f"version {code_version()}" in seen[name].detail for name in ("registry", "gateway"))
    assert seen["versions"].verdict == "ok"
    assert "VERMEIL_TLS_CA" in seen["trainer"].detail  # it speaks plainly


def test_what_is_away_is_a_problem_with_a_name_and_a_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    (tmp_path / "file").write_text("")
    away = {
        "HOME": tmp_path / "home",
        "DATABASE_URL": f"postgresql+psycopg://vermeil:hunter2@{nobody}/vermeil",
        "ARTIFACTS_URL": f"file://{tmp_path}/file/store",
        "BROKER_URL": f"redis://:hunter2@{nobody}/0",
        "REGISTRY_ADDRESS": nobody,
        "URL": f"http://{nobody}",
    }
    for name, value in away.items():
        monkeypatch.setenv(f"VERMEIL_{name}", str(value))
    commands = typer.Typer()
    add_commands(commands)
    told = CliRunner().invoke(commands, ["doctor", "--deployment"], obj=Output(None, as_json=True))
    assert told.exit_code == 1
    seen = {line["name"]: line for line in map(json.loads, told.stdout.splitlines())}
    assert {seen[name]["verdict"] for name in ("registry", "database", "store", "broker", "gateway")} == {
        "problem"
    }
    assert "VERMEIL_URL" in seen["gateway"]["detail"]
    assert "VERMEIL_BROKER_URL" in seen["broker"]["detail"]
    assert "hunter2" not in told.output


def test_a_mix_of_versions_is_a_warning_that_names_who_runs_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("vermeil_rpc.health.code_version", lambda: "0.0.9")
    settings = HouseSettings.load(rpc_grace_seconds=0.1)
    with running(lambda: build(settings), settings=settings) as registry:
        nobody = f"http://127.0.0.1:{free_port()}"
        seen = _seen(monkeypatch, REGISTRY_ADDRESS=registry.address, URL=nobody)
    assert "version 0.0.9" in seen["registry"].detail
    assert seen["versions"].verdict == "warning"
    assert f"0.0.9: registry; this command: {code_version()}; bring" in seen["versions"].detail


def test_an_address_is_shown_without_its_password() -> None:
    assert without_password("redis://:hunter2@redis:6379/0") == "redis://:…@redis:6379/0"
    assert without_password("filesystem://") == "filesystem://"
    assert without_password("sqlite:////home/a@b/registry.db") == "sqlite:////home/a@b/registry.db"


@pytest.mark.parametrize("password", ["hunter2", "hun/ter2", "hun#ter2", "hun?ter2", "hun@ter2", "hun:ter2"])
def test_no_password_is_shown_whatever_is_in_it(password: str) -> None:
    url = f"postgresql+psycopg://vermeil:{password}@postgres/vermeil"
    assert without_password(url) == "postgresql+psycopg://vermeil:…@postgres/vermeil"
    assert "ter2" not in without_password(f"postgresql+psycopg://postgres/v?user=v&password={password}")


@pytest.mark.parametrize(
    "url", ["amqp://v:hun/ter2@rabbitmq//", "redis://:hun#ter2@redis", "v:hun?ter2@redis"]
)
def test_a_broker_s_address_that_cannot_be_read_is_refused_without_its_password(
    url: str, tmp_path: Path
) -> None:
    found = look_at_broker(BrokerSettings.load(home=tmp_path, broker_url=url))
    assert found.verdict == "problem"
    assert "VERMEIL_BROKER_URL" in found.detail
    assert "hun" not in found.detail
    assert "ter2" not in found.detail
