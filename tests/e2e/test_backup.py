"""A house saved while it works comes to life in an empty home as it was then, whatever was saved later."""

import json
from pathlib import Path

import pytest
from vermeil_local.testing import Installation, installation, small_recipe


@pytest.mark.slow
@pytest.mark.timeout(900)  # starts two houses
def test_a_restored_house_serves_its_models_and_knows_its_jobs(
    vermeil: Installation, dataset: str, tmp_path: Path
) -> None:
    with vermeil.client() as client:
        job = client.wait(client.train(small_recipe(dataset, "kept", 10), request_id="kept-model").name)
        under_way = client.train(small_recipe(dataset, "late", 300), request_id="late-model")
        saved = json.loads(vermeil.command("backup", str(tmp_path / "backup"), "--json").stdout)
        client.cancel(under_way.name)
    ask = ("complete", "kept", "-p", "river", "--max-tokens", "8", "--temperature", "0", "--json")
    before = vermeil.command(*ask).stdout
    lineage = json.loads(vermeil.command("models", "kept", "--json").stdout)

    with vermeil.client() as client:
        client.wait(client.train(small_recipe(dataset, "kept", 5), request_id="kept-again").name)
    vermeil.command("backup", str(tmp_path / "backup"), "--keep", "2")

    home = tmp_path / "home"
    into_it = Installation(home, {**vermeil.environment, "VERMEIL_HOME": str(home)}, "", "")
    into_it.command("restore", str(tmp_path / "backup"), "--snapshot", saved["time"])
    again = into_it.command("restore", str(tmp_path / "backup"), check=False)
    assert again.returncode == 5
    assert "has rows already" in again.stderr
    with installation(home) as restored:
        told = restored.command("collect", "--older-than", "0", check=False)
        assert told.returncode == 2
        assert "older-than" in told.stderr
        assert json.loads(restored.command("collect", "--older-than", "1", "--json").stdout)["artifacts"] == 0
        assert json.loads(restored.command("models", "kept", "--json").stdout) == lineage
        assert restored.command(*ask).stdout == before
        jobs = [json.loads(line) for line in restored.command("jobs", "list", "--json").stdout.splitlines()]
        assert {job.name, under_way.name} <= {each["name"] for each in jobs}
