"""Which models there are for what, as choices of a dropdown, and what to do where there is none."""

from dataclasses import dataclass

import gradio as gr
from vermeil_client import Vermeil
from vermeil_client.resources import Model
from vermeil_errors import VermeilError

from vermeil_demo.markup import notice
from vermeil_demo.problems import problem


@dataclass(frozen=True)
class Skill:
    """Something that models can do."""

    takes: str
    """What it must read: text or image."""
    gives: str
    """What it must answer with: text, image or embedding."""
    missing: str
    """Says that no model can."""
    commands: tuple[str, ...]
    """Make one."""

    def of(self, model: Model) -> bool:
        """Whether a model can."""
        return self.takes in model.takes and self.gives in model.gives


TALKS = Skill(
    "text",
    "text",
    "No model that writes yet",
    ("make quickstart", "vermeil ingest FOLDER --name texts", "vermeil train nano --dataset texts"),
)
DRAWS = Skill(
    "text",
    "image",
    "No model that draws yet",
    ("make quickstart", "vermeil ingest shapes: --name shapes", "vermeil train shapes-image"),
)
SEES = Skill(
    "image",
    "text",
    "No model that looks at pictures yet",
    ("make quickstart", "vermeil train fused-shapes"),
)
FINDS = Skill(
    "text",
    "embedding",
    "No model that finds pictures yet",
    ("vermeil ingest shapes: --name shapes", "vermeil train dual-shapes"),
)


def models_that(vermeil: Vermeil, skill: Skill) -> list[str]:
    """Ids of the models that can, newest first."""
    able = [model for model in vermeil.models() if skill.of(model)]
    return [model.id for model in sorted(able, key=lambda model: -model.created)]


def offered(vermeil: Vermeil, skill: Skill, chosen: str | None) -> tuple[gr.Dropdown, gr.HTML]:
    """The dropdown of models and the notice above it, as they are now; what was chosen stays chosen."""
    try:
        names = models_that(vermeil, skill)
    except VermeilError as error:
        return gr.Dropdown(), gr.HTML(problem(error), visible=True)
    value = chosen if chosen in names else next(iter(names), None)
    missing = notice(skill.missing, "Make one:", skill.commands)
    return gr.Dropdown(names, value=value), gr.HTML("" if names else missing, visible=not names)
