"""Recipes as people write them are JSON when they are sent, or refused before."""

import json
from pathlib import Path

import pytest
from vermeil_client.recipes import read_recipe, with_changes
from vermeil_errors import InvalidInput


def test_what_looks_like_a_date_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: 2026-11-29\nsteps: 3e2\n")
    assert read_recipe(path)["name"] == "2026-11-29"
    changed = with_changes({}, ["origin=2026-11-29 12:00:00", "rate=3e-4", "steps=3", "on=true"])
    assert changed == {"origin": "2026-11-29 12:00:00", "rate": 3e-4, "steps": 3, "on": True}
    assert json.dumps(changed)


@pytest.mark.parametrize("value", ["[1", "{", ".nan", "!!set {a}", "!!binary aGk=", "&a [*a]"])
def test_a_value_that_cannot_be_sent_is_refused_by_its_assignment(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidInput, match="--set"):
        with_changes({}, [f"data.x={value}"])
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\nvalue: {value}\n")
    with pytest.raises(InvalidInput, match=r"recipe\.yaml"):
        read_recipe(path)
