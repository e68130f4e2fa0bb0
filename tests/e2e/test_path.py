"""Raw text goes in, an answer comes out, by the commands of the README."""

import json
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from vermeil_local.testing import Installation, small_recipe

_IMPOSSIBLE = ("--set", "model.width=100", "--set", "model.num_heads=7")


@pytest.fixture(scope="module")
def model(vermeil: Installation, dataset: str) -> str:
    with vermeil.client() as client:
        job = client.wait(client.train(small_recipe(dataset, "words", 30), request_id="words-model").name)
    assert job.result["model_version"] == "models/words/versions/1"
    return "words"


def test_everything_that_runs_says_it_is_well(vermeil: Installation) -> None:
    parts = [json.loads(line) for line in vermeil.command("status", "--json").stdout.splitlines()]
    assert {part["state"] for part in parts} == {"serving"}
    assert len(parts) >= 9


def test_a_second_up_on_the_same_home_is_refused(vermeil: Installation) -> None:
    again = vermeil.command("up", check=False)
    assert again.returncode == 5
    assert "already runs" in again.stderr
    assert vermeil.url in again.stderr


def test_a_port_in_use_is_named(vermeil: Installation, tmp_path: Path) -> None:
    environment = {**vermeil.environment, "VERMEIL_HOME": str(tmp_path / "other")}
    again = subprocess.run(
        [sys.executable, "-m", "vermeil_client", "up"],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert again.returncode == 5
    assert "VERMEIL_BIND" in again.stderr
    assert "in use" in again.stderr


def test_a_trained_model_is_evaluated_with_an_interval(vermeil: Installation, model: str) -> None:
    lines = vermeil.command("evaluate", model, "--json").stdout.splitlines()
    report = json.loads(lines[-1])["result"]
    metrics = {metric["name"]: metric for metric in report["metrics"]}
    assert (
        metrics["bits_per_byte"]["low"]
        <= metrics["bits_per_byte"]["value"]
        <= metrics["bits_per_byte"]["high"]
    )
    assert metrics["bits_per_byte"]["value"] < 8


def test_a_model_answers_on_the_command_line(vermeil: Installation, model: str) -> None:
    answer = vermeil.command("chat", model, "-p", "river stone", "--max-tokens", "8", "--seed", "1")
    assert answer.stdout.strip()


def test_the_official_openai_client_streams_an_answer(vermeil: Installation, model: str) -> None:
    with openai.OpenAI(base_url=f"{vermeil.url}/v1", api_key="none") as client:
        assert model in [each.id for each in client.models.list()]
        stream = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "river"}], max_tokens=12, stream=True, seed=3
        )
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("evaluate", "unknown"), 3, "unknown"),
        (("train", "nano", "--dataset", "unknown"), 3, "unknown"),
        (("chat", "unknown", "-p", "hi"), 3, "unknown"),
        (("train", "nano", "--dataset", "words", "--set", "run.stepz=1"), 2, "steps"),
        (("train", "nano", "--dataset", "words", "--set", "run.steps=soon"), 2, "run.steps"),
        (("train", "nano", "--dataset", "words", *_IMPOSSIBLE), 2, "num_heads"),
    ],
)
def test_a_wrong_name_or_field_is_named_with_its_fix(
    vermeil: Installation, dataset: str, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    refused = vermeil.command(*arguments, check=False)
    assert (refused.returncode, words in refused.stderr) == (exit_code, True), refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_empty_folder_is_refused_by_name(vermeil: Installation, tmp_path: Path) -> None:
    refused = vermeil.command("ingest", str(tmp_path), "--name", "empty", check=False)
    assert refused.returncode == 2
    assert str(tmp_path) in refused.stderr


def test_bad_files_among_good_ones_are_counted_in_the_data_card(
    vermeil: Installation, tmp_path: Path
) -> None:
    (tmp_path / "good.txt").write_text("A sentence of good text. " * 20)
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (tmp_path / "broken.txt").write_bytes(b"almost good \xff\xfe text " * 20)
    vermeil.command("ingest", str(tmp_path), "--name", "mixed")
    with vermeil.client() as client:
        card = next(client.dataset_versions("mixed"))["card"]
    shown = json.dumps(card)
    assert "empty" in shown
    assert "binary" in shown
