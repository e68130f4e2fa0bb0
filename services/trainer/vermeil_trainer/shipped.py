"""The recipes that come with the trainer: every YAML file in recipes/, named like its model."""

from functools import cache
from pathlib import Path

from vermeil_trainer.reading import read_recipe, recipe_from_dict
from vermeil_trainer.recipe import Recipe

FOLDER = Path(__file__).parent / "recipes"


@cache
def shipped_recipes() -> tuple[Recipe, ...]:
    """By name."""
    recipes = [recipe_from_dict(read_recipe(path)) for path in FOLDER.glob("*.yaml")]
    return tuple(sorted(recipes, key=lambda recipe: recipe.name))
