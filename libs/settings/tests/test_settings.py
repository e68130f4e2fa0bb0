"""What a service may rely on when it reads its environment."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError
from vermeil_errors import InvalidInput
from vermeil_settings import (
    Address,
    ArtifactSettings,
    BrokerSettings,
    CommaSeparated,
    CommonSettings,
    Settings,
    Tls,
    describe,
)


class Example(CommonSettings):
    bind: Address = "127.0.0.1:7699"
    """Where this service listens."""
    api_keys: CommaSeparated = ()
    """Keys that callers may use."""
    collector: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where traces go."""


class Both(ArtifactSettings, BrokerSettings):
    """A worker that reads artifacts."""


class Required(Settings):
    database_url: str
    """Where rows live."""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("VERMEIL_", "OTEL_")):
            monkeypatch.delenv(name)


def test_a_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_BIND", "0.0.0.0:80")
    assert Example.load().bind == "0.0.0.0:80"


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VERMEIL_HOME", "/elsewhere")
    assert CommonSettings.load(home=tmp_path).home == tmp_path


def test_home_is_absolute_and_the_tilde_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CommonSettings.load().home == tmp_path / ".vermeil"


def test_artifacts_live_under_home_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path))
    assert Both.load().artifacts_url == f"file://{tmp_path}/artifacts"
    monkeypatch.setenv("VERMEIL_ARTIFACTS_URL", "s3://bucket/prefix")
    assert Both.load().artifacts_url == "s3://bucket/prefix"


@pytest.mark.parametrize("address", ["nowhere", "host:", ":80", "host:99999", "host:port"])
def test_a_wrong_address_names_the_variable_and_the_fix(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("VERMEIL_BIND", address)
    with pytest.raises(InvalidInput, match=r"VERMEIL_BIND: .* is not host:port; write for example") as caught:
        Example.load()
    assert [violation.field for violation in caught.value.violations] == ["VERMEIL_BIND"]


@pytest.mark.parametrize("address", ["[::1]:80", "unix:/tmp/x.sock", "registry:7601", "127.0.0.1:0"])
def test_usual_addresses_are_accepted(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VERMEIL_BIND", address)
    assert Example.load().bind == address


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_LOG_LEVEL", "LOUD")
    monkeypatch.setenv("VERMEIL_METRICS_PORT", "0")
    with pytest.raises(InvalidInput) as caught:
        CommonSettings.load()
    assert [violation.field for violation in caught.value.violations] == [
        "VERMEIL_LOG_LEVEL",
        "VERMEIL_METRICS_PORT",
    ]
    assert "'DEBUG', 'INFO'" in str(caught.value)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InvalidInput, match="VERMEIL_DATABASE_URL: field required"):
        Required.load()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_METRICS_PORT", "")
    assert CommonSettings.load().metrics_port is None


def test_a_list_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_API_KEYS", " one, two,,")
    assert Example.load().api_keys == ("one", "two")
    assert Example.load(api_keys=("three",)).api_keys == ("three",)


def test_a_secret_never_shows_in_a_print_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_SERVICE_TOKEN", "hunter2")
    settings = CommonSettings.load()
    assert "hunter2" not in repr(settings)
    assert settings.token == "hunter2"
    assert isinstance(settings.service_token, SecretStr)
    monkeypatch.setenv("VERMEIL_BROKER_URL", "amqp://vermeil:hunter2@rabbitmq//")
    assert "hunter2" not in repr(BrokerSettings.load())


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (("CERTIFICATE", "KEY"), "CA"),
        (("CA", "KEY"), "CERTIFICATE"),
        (("CA", "CERTIFICATE"), "KEY"),
        (("CA",), "CERTIFICATE"),
    ],
)
def test_half_a_set_of_tls_files_names_the_variable_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], missing: str
) -> None:
    for name in given:
        monkeypatch.setenv(f"VERMEIL_TLS_{name}", "/tls/file.pem")
    with pytest.raises(InvalidInput, match="is needed beside") as caught:
        CommonSettings.load()
    assert [violation.field for violation in caught.value.violations] == [f"VERMEIL_TLS_{missing}"]


def test_tls_is_off_until_its_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CommonSettings.load().tls is None
    monkeypatch.setenv("VERMEIL_TLS_CA", "/tls/ca.crt")
    monkeypatch.setenv("VERMEIL_TLS_MUTUAL", "false")
    assert CommonSettings.load().tls == Tls(Path("/tls/ca.crt"), mutual=False)


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValidationError):
        CommonSettings.load().log_level = "DEBUG"


def test_unrelated_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_OF_ANOTHER_SERVICE", "1")
    CommonSettings.load()


def test_a_field_without_a_description_is_refused_where_it_is_defined() -> None:
    with pytest.raises(TypeError, match=r"Bare\.port needs a docstring"):

        class Bare(Settings):
            port: int = 1


def test_describe_lists_every_variable_with_its_default_and_purpose() -> None:
    variables = {variable.name: variable for variable in describe(Example)}
    assert variables["VERMEIL_BIND"].default == "127.0.0.1:7699"
    assert variables["VERMEIL_LOG_FORMAT"].type == "json | text"
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"].description == "Where traces go."
    assert variables["VERMEIL_SERVICE_TOKEN"].type == "secret | None"
    assert all(variable.description for variable in variables.values())
    assert describe(Required)[0].default is None
    assert {v.name: v.default for v in describe(Both)}[
        "VERMEIL_ARTIFACTS_URL"
    ] == "file://$VERMEIL_HOME/artifacts"


def test_an_aliased_variable_is_read_and_named_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
    assert Example.load().collector == "http://collector:4317"
