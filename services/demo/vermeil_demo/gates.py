"""The map of a fused model: how far each gate between its towers is open, as tables whose cells are tinted.

Numbers stand in the cells: the tint only repeats them. The trainer writes what is shown here, whatever the
way of joining is called, so nothing of it needs to be known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vermeil_demo.markup import escaped, figure

_LEAST_RANGE = 1.0
"""Of the tint: gates of less than this are pale."""


def gate_map(gates: Mapping[str, Any]) -> str:
    """Every table, with what the numbers mean."""
    tables = gates.get("tables") or ()
    values = [abs(value) for table in tables for row in table["values"] for value in row]
    most = max([_LEAST_RANGE, *values])
    shown = "".join(_table(table, most) for table in tables)
    words = escaped(_words(gates, tables))
    return f'<p class="vermeil-caption">{words}</p><div class="vermeil-maps">{shown}</div>'


def _words(gates: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> str:
    value = tables[0]["value"] if tables else "the gate"
    openness = float(gates.get("openness", 1.0))
    opened = "wide open" if openness == 1 else f"opened to {openness:.0%} by their schedule"
    return (
        f"{gates.get('fusion', '')} after step {figure(float(gates.get('step', 0)))}: {value} of each gate; "
        f"at 0 a tower hears nothing of the other. The gates are {opened}."
    )


def _table(table: Mapping[str, Any], most: float) -> str:
    head = "".join(f'<th scope="col">{escaped(column)}</th>' for column in table["columns"])
    rows = "".join(
        f'<tr><th scope="row">{escaped(row)}</th>{"".join(_cell(value, most) for value in values)}</tr>'
        for row, values in zip(table["rows"], table["values"], strict=True)
    )
    name = escaped(table["name"])
    return (
        f'<div class="vermeil-scroll" tabindex="0" role="group" aria-label="{name}">'
        f'<table class="vermeil-gates">'
        f"<caption>{name}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(value: float, most: float) -> str:
    return f'<td style="--open:{abs(value) / most:.3f}">{value:.2f}</td>'
