"""Checkpoints: one file of tensors and one of plain values, there whole or not at all.

A folder is filled under a temporary name, synced, then renamed; state.json carries the sha256 of the
tensors, so a torn or damaged checkpoint is recognised and the one before it taken. Nothing is pickled.
Frozen weights are left out: whoever made the model makes them again, and they may be most of it.
"""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from vermeil_errors import Conflict, DataCorrupted, InvalidInput, OutOfSpace
from vermeil_telemetry import get_logger

from vermeil_training.batches import Batches
from vermeil_training.state import TrainState

FORMAT_VERSION = 3
KEPT = 2
"""Complete checkpoints that stay: the newest, and one to fall back on."""

_TENSORS, _VALUES = "state.safetensors", "state.json"
_PLAIN = (
    "step",
    "items",
    "seconds",
    "cpu_seconds",
    "losses",
    "parts",
    "train_loss",
    "validation_loss",
    "validation_step",
)
"""Fields of the state that are plain values."""
_FREE_TO_CHANGE = frozenset(
    {"log_every", "evaluate_every", "evaluate_batches", "checkpoint_every", "compile"}
)
"""Settings of a run that may differ between its parts; all others shape the weights."""
_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = get_logger(__name__)


def save_state(state: TrainState, loader: Batches[Any], folder: Path) -> None:
    """Write the checkpoint of this step, then let go of all but the newest two."""
    generators = state.world.gather(state.generator.get_state().to(state.world.device))
    if state.world.leads:
        target = folder / f"step-{state.step:08d}"
        if not _is_complete(target):
            tensors = _tensors(state) | {"generators": generators}
            try:
                _write(folder, target, tensors, _values(state, loader))
            except BaseException as error:
                shutil.rmtree(_partial(target), ignore_errors=True)
                if _is_full(error):
                    raise OutOfSpace(
                        f"no space for the checkpoint of step {state.step} under {folder}",
                        fix="free some space and start again: the checkpoint before it is intact",
                    ) from error
                raise
        _prune(folder, state.step)
    state.world.wait()


def restore_state(state: TrainState, loader: Batches[Any], folder: Path) -> bool:
    """Go on from the newest sound checkpoint; False where there is none."""
    for path in reversed(_checkpoints(folder)):
        try:
            values, tensors = _read(path)
        except DataCorrupted as error:
            _log.warning("checkpoint skipped", checkpoint=str(path), error=str(error))
            continue
        _check_same_run(path, state, values)
        _load(state, tensors)
        for name in _PLAIN:
            setattr(state, name, values[name])
        loader.restore(type(loader.state()).from_dict(values["loader"]))
        _log.info("resumed", checkpoint=str(path), step=state.step)
        return True
    return False


def _values(state: TrainState, loader: Batches[Any]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        **{name: getattr(state, name) for name in _PLAIN},
        "loader": loader.state().to_dict(),
        "processes": state.world.size,
        "config": state.config.to_dict(),
    }


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"model/{name}": value for name, value in _learned(state).items()}
    names = _names(state)
    for optimizer in state.optimizers:
        for slot, values in optimizer.slots.items():
            for weight, value in zip(optimizer.weights, values, strict=True):
                tensors[f"optimizer/{slot}/{names[id(weight)]}"] = value
    for weight, average in zip(state.parameters, state.average or [], strict=bool(state.average)):
        tensors[f"average/{names[id(weight)]}"] = average
    return tensors


def _load(state: TrainState, tensors: dict[str, Tensor]) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        if part in parts:
            parts[part][name] = value
    theirs, ours = parts["model"], state.model.state_dict()
    missing = _learned(state).keys() - theirs.keys()
    other = {name for name, value in theirs.items() if name not in ours or ours[name].shape != value.shape}
    if missing or other:
        raise Conflict(
            f"the checkpoint is of another architecture: see {min(missing | other)}",
            fix="train in another folder",
        )
    state.model.load_state_dict(theirs, strict=False)
    names = _names(state)
    for optimizer in state.optimizers:
        for slot, values in optimizer.slots.items():
            for weight, value in zip(optimizer.weights, values, strict=True):
                value.copy_(parts["optimizer"][f"{slot}/{names[id(weight)]}"])
    for weight, average in zip(state.parameters, state.average or [], strict=bool(state.average)):
        average.copy_(parts["average"][names[id(weight)]])
    state.generator.set_state(tensors["generators"][state.world.rank].clone())


def _learned(state: TrainState) -> dict[str, Tensor]:
    """All that the model holds but for frozen weights."""
    weights = state.model.named_parameters(remove_duplicate=False)
    frozen = {name for name, weight in weights if not weight.requires_grad}
    return {name: value for name, value in state.model.state_dict().items() if name not in frozen}


def _names(state: TrainState) -> dict[int, str]:
    return {id(weight): name for name, weight in state.model.named_parameters()}


def _check_same_run(path: Path, state: TrainState, values: dict[str, Any]) -> None:
    """Refuse to go on with another recipe than the one that was begun."""
    theirs: dict[str, dict[str, Any]] = values["config"]
    for section, mine in asdict(state.config).items():
        given = section == "given"
        for name, value in mine.items():
            before = theirs.get(section, {}).get(name, value if given else None)
            if (given or name not in _FREE_TO_CHANGE) and before != value:
                raise Conflict(
                    f"the checkpoint {path} was made with {before!r}",
                    field=name if given else f"{section}.{name}",
                    value=value,
                    fix="set it back, or train in another folder",
                )
    if values["processes"] != state.world.size:
        raise Conflict(
            f"the checkpoint {path} was made by {values['processes']} processes, now there are "
            f"{state.world.size}",
            fix="start as many as before",
        )


def _write(folder: Path, target: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    partial = _partial(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, partial / _TENSORS)
    values["sha256"] = _sha256(partial / _TENSORS)
    (partial / _VALUES).write_text(json.dumps(values, indent=1))
    for path in (partial / _TENSORS, partial / _VALUES, partial):
        _sync(path)
    # What stands there under this name was found incomplete.
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _sync(folder)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        values: dict[str, Any] = json.loads((path / _VALUES).read_text())
        if _sha256(path / _TENSORS) != values["sha256"]:
            raise DataCorrupted("its bytes are not what was written", field=str(path / _TENSORS))
        tensors = load_file(path / _TENSORS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataCorrupted(f"the checkpoint is incomplete: {error}", field=str(path)) from error
    if values["format_version"] != FORMAT_VERSION:
        raise InvalidInput(f"the checkpoint {path} has format version {values['format_version']}")
    return values, tensors


def _is_complete(path: Path) -> bool:
    try:
        _read(path)
    except DataCorrupted:
        return False
    return True


def _checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("step-????????"))


def _prune(folder: Path, step: int) -> None:
    """Keep the newest up to this step; what lies ahead was skipped as damaged."""
    done = [path for path in _checkpoints(folder) if int(path.name.removeprefix("step-")) <= step]
    for path in {*_checkpoints(folder), *folder.glob(".*.partial")} - set(done[-KEPT:]):
        shutil.rmtree(path, ignore_errors=True)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    # safetensors keeps the system's number in its text alone.
    return isinstance(error, SafetensorError) and any(f"os error {code})" in str(error) for code in _FULL)
