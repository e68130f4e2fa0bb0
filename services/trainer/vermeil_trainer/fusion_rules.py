"""What a recipe of task fusion must hold: two models, data, and what to learn from them."""

import re
from collections import Counter

from vermeil_data.mixture import UNASKED
from vermeil_errors import Violation

from vermeil_trainer.recipe import MixtureSpec, Recipe
from vermeil_trainer.rules import violation

RANK = 16
"""Of low_rank where the recipe leaves it open."""
RAMP = 0.1
"""Part of all steps over which towers open to one another where the recipe leaves it open."""
_OPENING = ("alloy", "prefix", "cross_attention")
"""Fusions that can be shut."""
_JOINT = ("alloy", "low_rank", "prefix", "cross_attention")
"""Fusions with weights that are of neither tower."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def fusion_violations(recipe: Recipe) -> list[Violation]:
    """Fields that are missing, or right alone and wrong together."""
    return _fusion(recipe) + _sources(recipe) + _tasks(recipe)


def ramp_steps(recipe: Recipe) -> int:
    """Steps over which towers that can be shut open to one another; those of a fused model are open."""
    if recipe.model.initial:
        return 0
    chosen = recipe.fusion.ramp_steps
    return round(RAMP * recipe.run.steps) if chosen is None else chosen


def _backbones(recipe: Recipe) -> list[Violation]:
    """Two models to be made one, or one that was made of two before."""
    fusion = recipe.fusion
    if recipe.model.initial:
        held = {name: getattr(fusion, name) for name in ("text", "image", "ramp_steps", "rank")}
        problem = "has no meaning beside model.initial, which is a fused model already"
        return [
            violation(f"fusion.{name}", value, problem, "leave one of the two out")
            for name, value in held.items()
            if value not in ("", None)
        ]
    fix = "name the model that {}, or a fused one in model.initial"
    return [
        violation(f"fusion.{name}", "", "is required", fix.format(does))
        for name, does in (("text", "writes"), ("image", "draws"))
        if not getattr(fusion, name)
    ]


def _fusion(recipe: Recipe) -> list[Violation]:
    fusion = recipe.fusion
    found = _backbones(recipe)
    for name, kinds, default in (
        ("ramp_steps", _OPENING, None),
        ("joint_rate", _JOINT, 1),
        ("rank", ("low_rank",), None),
    ):
        value = getattr(fusion, name)
        if value != default and fusion.kind not in kinds:
            found.append(
                violation(f"fusion.{name}", value, f"has no meaning for {fusion.kind}", "leave it out")
            )
    if fusion.ramp_steps is not None and fusion.ramp_steps > recipe.run.steps:
        problem = f"is more than run.steps ({recipe.run.steps})"
        found.append(violation("fusion.ramp_steps", fusion.ramp_steps, problem, "open in fewer steps"))
    joint_learns = fusion.kind in _JOINT and fusion.joint_rate > 0
    if fusion.text_rate == fusion.image_rate == 0 and not joint_learns:
        found.append(violation("fusion.image_rate", 0, "leaves nothing to learn", "give one a rate above 0"))
    return found


def _sources(recipe: Recipe) -> list[Violation]:
    sources = recipe.mixture.sources
    if not sources:
        return [violation("mixture.sources", [], "is empty", "name at least one dataset")]
    found = []
    counted = Counter(source.name for source in sources)
    for index, source in enumerate(sources):
        path = f"mixture.sources[{index}]"
        if not _NAME.fullmatch(source.name):
            fix = "write 1 to 63 characters of a-z, 0-9 and -"
            found.append(violation(f"{path}.name", source.name, "is no name", fix))
        elif counted[source.name] > 1:
            found.append(violation(f"{path}.name", source.name, "is there twice", "call one otherwise"))
        if not source.dataset:
            fix = "name a dataset, such as datasets/peps"
            found.append(violation(f"{path}.dataset", "", "is required", fix))
    return found


def _choices(mixture: MixtureSpec) -> list[Violation]:
    """Weights, temperature and pairs of task and source that do not go together."""
    found = []
    weighted = [task.weight is not None for task in mixture.tasks]
    if any(weighted) and not all(weighted):
        path = f"mixture.tasks[{weighted.index(False)}].weight"
        found.append(
            violation(path, None, "is missing, while other tasks have one", "give all a weight, or none")
        )
    if any(weighted) and mixture.temperature != 1:
        problem = "means nothing where tasks have weights"
        found.append(
            violation("mixture.temperature", mixture.temperature, problem, "leave out one of the two")
        )
    pairs = [(task.kind, task.source) for task in mixture.tasks]
    for index, pair in enumerate(pairs):
        if pair in pairs[:index]:
            problem = f"learns {pair[0]} from the same source again"
            found.append(
                violation(f"mixture.tasks[{index}].source", pair[1], problem, "leave one of them out")
            )
    read = {task.source for task in mixture.tasks}
    for index, source in enumerate(mixture.sources):
        if source.name not in read:
            path = f"mixture.sources[{index}].name"
            found.append(violation(path, source.name, "is read by no task", "leave it out"))
    return found


def _spelling(mixture: MixtureSpec) -> list[Violation]:
    """Styles and windows of tasks that have none, and conversations without anything told in turns."""
    found = []
    told = mixture.samples_per_conversation
    if told > 1 and not any(
        task.style == "chat" or (task.kind == "vqa" and not task.style) for task in mixture.tasks
    ):
        problem = "means nothing where no task is in chat style"
        fix = "give a task `style: chat`, or leave it out"
        found.append(violation("mixture.samples_per_conversation", told, problem, fix))
    for index, task in enumerate(mixture.tasks):
        of_text = task.kind == "language-modelling"
        path = f"mixture.tasks[{index}]"
        if task.kind in UNASKED and task.style == "chat":
            problem = f"has no meaning for {task.kind}: nobody is asked"
            found.append(violation(f"{path}.style", task.style, problem, "leave it out"))
        if task.window is not None and not of_text:
            problem = f"has no meaning for {task.kind}: its samples are not cut"
            found.append(violation(f"{path}.window", task.window, problem, "leave it out"))
        elif task.window is not None and task.window > mixture.text_slots:
            problem = f"is more than mixture.text_slots ({mixture.text_slots})"
            found.append(violation(f"{path}.window", task.window, problem, "take a shorter one"))
    return found


def _tasks(recipe: Recipe) -> list[Violation]:
    mixture = recipe.mixture
    if not mixture.tasks:
        return [violation("mixture.tasks", [], "is empty", "say what to learn, such as captioning")]
    names = [source.name for source in mixture.sources]
    return (
        _choices(mixture)
        + _spelling(mixture)
        + [
            violation(
                f"mixture.tasks[{index}].source",
                task.source,
                "is none of mixture.sources",
                f"choose {' or '.join(names)}" if names else "add the source",
            )
            for index, task in enumerate(mixture.tasks)
            if task.source not in names
        ]
    )
