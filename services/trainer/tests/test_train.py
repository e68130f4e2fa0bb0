"""Training by hand: folders in, a folder out, the same bits however often it is interrupted."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from vermeil_data import TokenizerSpec, encode_dataset, fit_tokenizer, open_dataset, open_encoded
from vermeil_errors import Conflict, InvalidInput, OutOfSpace
from vermeil_jobs import JobState
from vermeil_trainer.__main__ import main
from vermeil_trainer.by_hand import with_changes
from vermeil_trainer.reading import recipe_from_dict
from vermeil_trainer.testing import World
from vermeil_trainer.train import Trained, train, training_config
from vermeil_training import train_step

Small = Callable[..., dict[str, Any]]


@pytest.fixture
def recipe_file(tmp_path: Path, small: Small) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(small()))
    return path


def digests(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _run(recipe: dict[str, Any], raw: Path, folder: Path, **options: Any) -> Trained:
    encoded = folder.parent / "encoded"
    if not encoded.exists():
        dataset = open_dataset(raw)
        encode_dataset(dataset, fit_tokenizer(dataset, TokenizerSpec("byte")), encoded)
    return train(recipe_from_dict(recipe), open_encoded(encoded), folder, **options)


def test_a_raw_folder_becomes_a_model_folder(
    recipe_file: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    arguments = (str(recipe_file), "--dataset", str(raw), "--output", str(output), "--set", "run.steps=10")
    assert main(*arguments) == 0
    said = capsys.readouterr()
    assert f"model: {output / 'model'}" in said.out
    assert "step 10/10" in said.err
    assert set(digests(output / "model")) == {
        *("config.json", "model.safetensors", "model_card.json", "tokenizer.json", "tokenizer_config.json")
    }
    (encoded,) = output.glob("encoded-*")
    again = tmp_path / "again"
    assert (
        main(str(recipe_file), "--dataset", str(encoded), "--output", str(again), "--set", "run.steps=10")
        == 0
    )
    assert digests(again / "model") == digests(output / "model")


@pytest.mark.parametrize("bad", ["run.steps", "=3", "name.of=3"])
def test_a_change_that_sets_no_field_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput, match=r"write --set run\.steps=10"):
        with_changes({"name": "x"}, [bad])


def test_a_wrong_recipe_ends_with_its_exit_code_and_no_traceback(
    recipe_file: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--dataset", str(raw), "--output", str(tmp_path / "run"))
    assert main(str(recipe_file), *folders, "--set", "run.stepz=10") == 2
    assert "did you mean run.steps?" in capsys.readouterr().err
    assert main(str(recipe_file), "--dataset", str(tmp_path), "--output", str(tmp_path / "run")) == 3
    assert "no dataset here" in capsys.readouterr().err


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(small: Small, raw: Path, tmp_path: Path) -> None:
    whole = _run(small(), raw, tmp_path / "whole")
    calls = iter(range(100))
    part = _run(small(), raw, tmp_path / "parts", should_stop=lambda: next(calls) == 7)
    assert not part.finished
    assert 0 < part.steps < 12
    rest = _run(small(), raw, tmp_path / "parts")
    assert rest.finished
    assert (rest.steps, rest.items, rest.validation_loss) == (
        whole.steps,
        whole.items,
        whole.validation_loss,
    )
    assert digests(rest.model) == digests(whole.model)


def test_a_run_that_is_done_is_not_done_again(small: Small, raw: Path, tmp_path: Path) -> None:
    first = _run(small(), raw, tmp_path / "run")
    seen: list[int] = []
    again = _run(small(), raw, tmp_path / "run", on_progress=lambda progress: seen.append(progress.step))
    assert seen == [12]
    assert again == first


def test_a_run_does_not_go_on_by_another_recipe(
    recipe_file: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--dataset", str(raw), "--output", str(tmp_path / "run"))
    assert main(str(recipe_file), *folders) == 0
    capsys.readouterr()
    for changed, said in (
        ("run.batch_size=2", "run.batch_size = 2: the checkpoint"),
        ("model.rope_theta=500", "model.rope_theta = 500"),
    ):
        assert main(str(recipe_file), *folders, "--set", changed) == Conflict.exit_code
        told = capsys.readouterr().err
        assert said in told
        assert "was made with" in told
        assert "set it back, or train in another folder" in told
    assert main(str(recipe_file), *folders, "--set", "run.log_every=3") == 0


def test_what_shapes_the_weights_is_what_a_run_may_not_change(small: Small) -> None:
    given = training_config(
        recipe_from_dict(small(adapter={"rank": 2, "alpha": 3}, model={"initial": "x"}))
    ).given
    assert (given["adapter.alpha"], given["fusion.flow_weight"], given["run.batch_size"]) == (3, 3, 4)
    assert not {"model.initial", "image.guidance", "fusion.text"} & set(given)


def test_a_disk_that_is_full_at_the_end_is_said(
    recipe_file: Path,
    raw: Path,
    world: World,
    small: Small,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = world.submit(small())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr("vermeil_trainer.model_folder.num_parameters", full)
    done = world.work(job)
    assert done.error is not None
    assert done.error.reason == "OUT_OF_SPACE"
    folders = ("--dataset", str(raw), "--output", str(tmp_path / "run"))
    assert main(str(recipe_file), *folders) == OutOfSpace.exit_code
    assert "no space left" in capsys.readouterr().err


def test_data_in_the_tokens_of_another_tokenizer_are_refused(small: Small, raw: Path, tmp_path: Path) -> None:
    first = _run(small(), raw, tmp_path / "first")
    path = first.model / "tokenizer.json"
    values = json.loads(path.read_text())
    vocabulary = values["model"]["vocab"]
    one, other = list(vocabulary)[:2]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    path.write_text(json.dumps(values))
    further = small(name="further") | {"model": {"initial": str(first.model)}}
    with pytest.raises(InvalidInput, match=r"tokens of another tokenizer than model\.initial: entry \d+ is"):
        _run(further, raw, tmp_path / "further", initial=first.model)


def test_by_hand_a_model_is_continued_from_its_folder(small: Small, raw: Path, tmp_path: Path) -> None:
    first = _run(small(), raw, tmp_path / "first")
    further = small(name="further", run={"steps": 2})
    further["model"] = {"initial": str(first.model)}
    path = tmp_path / "further.yaml"
    path.write_text(json.dumps(further))
    output = tmp_path / "further"
    assert main(str(path), "--dataset", str(raw), "--output", str(output)) == 0
    config = json.loads((output / "model/config.json").read_text())
    assert config == json.loads((first.model / "config.json").read_text())


HELD = """
import sys, threading
from importlib import import_module
from vermeil_trainer.__main__ import main

fit = import_module("vermeil_training.fit")
train_step = fit.train_step

def learn_or_stand_still(state, *arguments):
    if state.step == 7:
        print("in step 8", flush=True)
        threading.Event().wait()
    return train_step(state, *arguments)

fit.train_step = learn_or_stand_still
main(*sys.argv[1:])
"""


@pytest.mark.slow
def test_a_job_killed_in_the_middle_is_taken_up_to_the_same_bits(
    world: World, small: Small, tmp_path: Path
) -> None:
    recipe = small()
    undisturbed = world.work(world.submit(recipe, "undisturbed"))
    job = world.submit(recipe, "killed")
    settled = recipe | {"data": recipe["data"] | {"dataset": "datasets/words/versions/1"}}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(settled))
    encoded = world.store.fetch(world.jobs.get(job.after[0]).outputs["encoded"])
    folder = world.home / job.name / "run"
    held = [sys.executable, "-c", HELD, str(path), "--dataset", str(encoded), "--output", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(held, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "in step 8\n"
        worker.kill()
    assert any((folder / "checkpoints").glob("step-*"))
    assert not (folder / "model").exists()
    done = world.work(job)
    assert done.state is JobState.SUCCEEDED
    assert done.outputs["model"] == undisturbed.outputs["model"]


def test_a_signal_stops_a_run_so_that_the_same_command_goes_on(
    recipe_file: Path,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = (str(recipe_file), "--dataset", str(raw), "--output", str(tmp_path / "run"))

    def interrupted(state: Any, *more: Any) -> Any:
        if state.step == 7:
            signal.raise_signal(signal.SIGTERM)
        return train_step(state, *more)

    with monkeypatch.context() as patched:
        patched.setattr(import_module("vermeil_training.fit"), "train_step", interrupted)
        assert main(*arguments) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert main(*arguments) == 0


@pytest.mark.slow
def test_two_processes_under_torchrun_make_one_model(recipe_file: Path, raw: Path, tmp_path: Path) -> None:
    def arguments(name: str, batch_size: int) -> list[str]:
        changes = (f"run.batch_size={batch_size}", "run.log_every=3", "optimizer.kind=adamw")
        given = ["--dataset", str(raw), "--output", str(tmp_path / name)]
        return [str(recipe_file), *given, *(part for change in changes for part in ("--set", change))]

    def losses(name: str) -> list[float]:
        assert (tmp_path / name / "model/model.safetensors").is_file()
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if "loss" in line]

    assert main(*arguments("alone", 4)) == 0
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "vermeil_trainer"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *torchrun, *arguments("together", 2)], check=True, env=environment)
    assert losses("together") == pytest.approx(losses("alone"), abs=2e-4)
