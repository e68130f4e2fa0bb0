"""Where a fused model fuses, and how much, for people: fusion.json beside the loss curve of a run.

Every way of joining with gates comes out as tables of the same form, a row for each layer, so that who shows
them needs to know nothing of it. Ways without gates have no map.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor
from vermeil_model import FusedModel
from vermeil_model.fusions.alloy import Alloy
from vermeil_model.fusions.cross_attention import CrossAttention
from vermeil_model.opening import Opening

FUSION_MAP = "fusion.json"
_FORMAT_VERSION = 1
_TEXT, _PICTURES = "text looks at pictures", "pictures look at text"


@dataclass(frozen=True)
class GateTable:
    """How far the gates of one direction let the other tower in."""

    name: str
    """Who looks at what."""
    value: str
    """What the numbers are: α or tanh(g)."""
    rows: Sequence[str]
    """Layers."""
    columns: Sequence[str]
    """What a layer has a gate for each of: heads, or its attention and feed-forward."""
    values: Sequence[Sequence[float]]
    """By row, then column; 0 is shut."""


def write_fusion_map(model: FusedModel, step: int, folder: Path) -> None:
    """Write the map of a model after so many steps, if it has one."""
    tables = gate_tables(model)
    if not tables:
        return
    assert isinstance(model.joint, Opening)  # whatever has gates can be shut
    content = {
        "format_version": _FORMAT_VERSION,
        "fusion": model.config.fusion,
        "step": step,
        "openness": float(model.joint.openness),
        "tables": [asdict(table) for table in tables],
    }
    (folder / FUSION_MAP).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def gate_tables(model: FusedModel) -> list[GateTable]:
    """Both directions; nothing for ways of joining without gates."""
    match model:
        case Alloy():
            directions = zip((_TEXT, _PICTURES), model.alloy().unbind(-1), strict=True)
            heads = [f"head {number}" for number in range(1, model.config.text.num_heads + 1)]
            return [_table(name, "α", 1, heads, alpha_NH) for name, alpha_NH in directions]
        case CrossAttention():
            gates, parts = model.gates(), ("attention", "feed-forward")
            towers = ((_TEXT, gates["text"]), (_PICTURES, gates["image"]))
            return [_table(name, "tanh(g)", model.every, parts, gate_N2) for name, gate_N2 in towers]
    return []


def _table(name: str, value: str, every: int, columns: Sequence[str], gates_NC: Tensor) -> GateTable:
    rows = [f"layer {every * number}" for number in range(1, len(gates_NC) + 1)]
    values = [[round(gate, 4) for gate in row] for row in gates_NC.tolist()]
    return GateTable(name, value, rows, tuple(columns), values)
