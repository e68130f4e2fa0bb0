"""Checkpoints are there whole or not at all, and hold nothing that could run."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from vermeil_errors import Conflict, OutOfSpace
from vermeil_model import ModelConfig, TextModel
from vermeil_training import OptimizerConfig, TrainingConfig, checkpoint, fit, make_state, restore_state
from vermeil_training.testing import SmallRun


@pytest.fixture
def trained(small: SmallRun, config: TrainingConfig, tmp_path: Path) -> Path:
    """The checkpoints of a finished run."""
    fit(config, small.model(), small.loader(), small.validation(), tmp_path)
    return tmp_path / "checkpoints"


def step_after_restoring(small: SmallRun, config: TrainingConfig, folder: Path) -> int:
    state = make_state(config, small.model())
    restore_state(state, small.loader(), folder)
    return state.step


def test_the_newest_two_are_kept_as_safetensors_and_json(trained: Path) -> None:
    assert sorted(str(path.relative_to(trained)) for path in trained.rglob("*.*")) == [
        "step-00000008/state.json",
        "step-00000008/state.safetensors",
        "step-00000012/state.json",
        "step-00000012/state.safetensors",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "state.json").unlink(),
        lambda path: (path / "state.json").write_text('{"step": 12'),
        lambda path: (path / "state.safetensors").unlink(),
        lambda path: (path / "state.safetensors").write_bytes(b""),
        lambda path: flip_a_byte(path / "state.safetensors"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    small: SmallRun, config: TrainingConfig, trained: Path, damage: Callable[[Path], object]
) -> None:
    damage(trained / "step-00000012")
    assert step_after_restoring(small, config, trained) == 8


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_written_again_on_the_way(
    small: SmallRun, config: TrainingConfig, trained: Path
) -> None:
    flip_a_byte(trained / "step-00000012" / "state.safetensors")
    fit(config, small.model(), small.loader(), small.validation(), trained.parent)
    assert step_after_restoring(small, config, trained) == 12


def test_a_checkpoint_half_written_is_never_seen(
    small: SmallRun, config: TrainingConfig, trained: Path
) -> None:
    (trained / "step-00000012").rename(trained / ".step-00000012.partial")
    assert step_after_restoring(small, config, trained) == 8


@pytest.mark.parametrize("where", ["tensors", "values"])
def test_a_full_disk_is_said_and_leaves_the_checkpoint_before_it(
    small: SmallRun, config: TrainingConfig, trained: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    shutil.rmtree(trained / "step-00000012")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "tensors":
        monkeypatch.setattr(checkpoint, "save_file", full)
    else:
        monkeypatch.setattr(Path, "write_text", full)
    state, loader = make_state(config, small.model()), small.loader()
    restore_state(state, loader, trained)
    state.step = 12
    with pytest.raises(OutOfSpace, match="step 12"):
        checkpoint.save_state(state, loader, trained)
    monkeypatch.undo()
    assert [path.name for path in trained.iterdir()] == ["step-00000008"]
    assert step_after_restoring(small, config, trained) == 8


@pytest.mark.slow
def test_a_disk_that_really_fills_up_is_said_too(small: SmallRun, tmp_path: Path) -> None:
    """A file system of half a megabyte in a mount namespace of its own."""
    program = Path(__file__).with_name("full_disk_run.py")
    mounted = f"mount -t tmpfs -o size=600k none {tmp_path} && exec {sys.executable} {program} "
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    allowed = subprocess.run([*command, f"mount -t tmpfs none {tmp_path}"], check=False, capture_output=True)
    if allowed.returncode:
        pytest.skip("mounting in a user namespace is not allowed here")
    result = subprocess.run(
        [*command, mounted + f"{small.encoded.folder} {tmp_path}"], check=True, capture_output=True, text=True
    )
    assert result.stdout.split() == ["OUT_OF_SPACE", "step-00000004"]


def test_another_recipe_is_refused_by_the_field_that_differs(
    small: SmallRun, config: TrainingConfig, trained: Path
) -> None:
    other = replace(config, optimizer=OptimizerConfig(learning_rate=0.001))
    with pytest.raises(Conflict, match=r"optimizer\.learning_rate = 0\.001.*0\.003"):
        step_after_restoring(small, other, trained)


def test_how_often_to_look_may_change_on_the_way(
    small: SmallRun, with_run: Callable[..., TrainingConfig], trained: Path
) -> None:
    assert step_after_restoring(small, with_run(log_every=1, evaluate_every=1), trained) == 12


def test_a_checkpoint_of_another_architecture_is_refused(
    small: SmallRun, config: TrainingConfig, trained: Path
) -> None:
    other = TextModel(ModelConfig.from_depth(1, small.encoded.vocab_size, width=32, context_length=16))
    with pytest.raises(Conflict, match="another architecture"):
        restore_state(make_state(config, other), small.loader(), trained)


def test_without_any_checkpoint_a_run_begins(small: SmallRun, config: TrainingConfig, tmp_path: Path) -> None:
    assert not restore_state(make_state(config, small.model()), small.loader(), tmp_path / "nothing")
