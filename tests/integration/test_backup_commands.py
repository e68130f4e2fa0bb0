"""`vermeil backup | restore`: how many snapshots stay, which there are, and which comes back."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from inspect import signature
from pathlib import Path

import pytest
from vermeil_client.commands import run
from vermeil_local import commands
from vermeil_registry.backup import KEEP
from vermeil_registry.collect import DAYS
from vermeil_registry.database import Database
from vermeil_registry.migrate import migrate
from vermeil_registry.snapshots import LATEST


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One goes by between two backups."""
    moments = (datetime(2026, 11, 1, 3, 17, tzinfo=UTC) + timedelta(days=number) for number in range(9))

    class Daily(datetime):
        @classmethod
        def now(cls, _zone: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return next(moments)

    with monkeypatch.context() as patch:
        patch.setattr("vermeil_registry.backup.datetime", Daily)
        yield


@pytest.mark.usefixtures("days")
def test_snapshots_are_kept_listed_and_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    database = Database(f"sqlite:///{tmp_path}/home/registry.db")
    migrate(database)
    database.close()
    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "home"))
    folder = str(tmp_path / "backup")
    assert run(["backup", folder]) == run(["backup", folder]) == 0
    assert run(["backup", folder, "--keep", "2"]) == 0
    capsys.readouterr()
    assert run(["restore", folder, "--list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["time"] for each in listed] == ["2026-11-03T03:17:00+00:00", "2026-11-02T03:17:00+00:00"]
    assert run(["restore", folder, "--list"]) == 0
    assert "2026-11-02T03:17:00+00:00" in capsys.readouterr().out
    assert run(["backup", folder, "--keep", "0"]) == 2
    assert "keep = 0: is less than 1" in capsys.readouterr().err

    monkeypatch.setenv("VERMEIL_HOME", str(tmp_path / "restored"))
    assert run(["restore", folder, "--snapshot", "2026-11-01T03:17:00Z"]) == 3
    assert "2026-11-02T03:17:00+00:00" in capsys.readouterr().err
    assert run(["restore", folder, "--snapshot", "2026-11-02T03:17:00Z", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed[1]
    assert (tmp_path / "restored" / "registry.db").exists()


def test_the_defaults_are_the_registrys_own() -> None:
    """The command line says them again, for it does not load the database to say what there is."""
    said = {
        name: each.default.default
        for command in (commands.backup, commands.restore, commands.collect)
        for name, each in signature(command).parameters.items()
        if name in ("keep", "snapshot", "older_than")
    }
    assert said == {"keep": KEEP, "snapshot": LATEST, "older_than": DAYS}
