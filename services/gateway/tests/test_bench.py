"""`vermeil bench serve` against this gateway: the load tool and the door agree on what an answer is."""

import json
from pathlib import Path

import pytest
from vermeil_client.commands import run
from vermeil_errors import Overloaded, Unavailable
from vermeil_gateway.testing import Running


def _bench(gateway: Running, folder: Path, *options: str) -> tuple[int, dict]:
    command = ["--url", gateway.url, "bench", "serve", *options, "--result-dir", str(folder)]
    code = run(command)
    file = folder / ("sweep.json" if "--sweep" in options else "serve.json")
    return code, json.loads(file.read_text()) if file.exists() else {}


def test_mixed_requests_are_answered_once_and_whole(gateway: Running, tmp_path: Path) -> None:
    options = ("--mix", "short=2,read,write,turns,look", "--num-prompts", "40", "--max-concurrency", "4")
    code, found = _bench(gateway, tmp_path, "vermeil-nano", *options, "--count-tokens", "--save-detailed")
    assert code == 0
    assert found["ends"] == {"completed": 40}
    assert found["total_output_tokens"] == 40 * len(gateway.backends.generation.words)
    assert (tmp_path / "serve.png").stat().st_size > 10_000
    rows = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == 40
    asked = [request.request_id for request in gateway.backends.generation.requests]
    assert sorted(id_ for id_ in asked if "-warm-" not in id_) == sorted(row["id"] for row in rows)


def test_a_model_of_pictures_is_asked_to_draw(gateway: Running, tmp_path: Path) -> None:
    code, found = _bench(gateway, tmp_path, "vermeil-pictures", "--num-prompts", "4")
    assert (code, found["mixture"], found["ends"]) == (0, {"draw": 1}, {"completed": 4})


def test_who_is_told_to_come_again_is_counted_as_shed(gateway: Running, tmp_path: Path) -> None:
    for refusal, code in ((Overloaded("full"), "429 OVERLOADED"), (Unavailable("gone"), "503 UNAVAILABLE")):
        gateway.backends.generation.refusal = refusal
        exit_code, found = _bench(gateway, tmp_path, "vermeil-nano", "--mix", "short", "--num-prompts", "3")
        assert (exit_code, found["errors"]) == (0, {f"shed: {code}": 3})


def test_what_the_server_does_not_take_is_said_before_the_load(
    gateway: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _bench(gateway, tmp_path, "vermeil-nano", "--mix", "short,draw") == (2, {})
    assert "kind draw was refused" in capsys.readouterr().err


def test_a_sweep_finds_a_capacity(gateway: Running, tmp_path: Path) -> None:
    options = ("--sweep", "--rates", "5,10", "--duration", "0.5", "--mix", "short", "--max-concurrency", "2")
    code, found = _bench(gateway, tmp_path, "vermeil-nano", *options)
    assert code == 0
    assert found["capacity"] > 0
    assert len(found["steps"]) == 4
    assert (tmp_path / "sweep.png").exists()
