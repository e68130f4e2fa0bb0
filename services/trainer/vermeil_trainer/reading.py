"""Recipes in and out: YAML to message, message to checked values and back.

All wrong fields are told at once, then what is wrong between fields. Both ways in, a file and an RPC,
end in `recipe_from_message`.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from vermeil.training.v1 import recipe_pb2
from vermeil_errors import InvalidInput, NotFound, Violation

from vermeil_trainer.recipe import Recipe
from vermeil_trainer.rules import EACH, RULE, violation
from vermeil_trainer.task_rules import meaningless_sections, task_violations

SectionT = TypeVar("SectionT")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_WHOLE = {FieldDescriptor.CPPTYPE_INT32: 2**31, FieldDescriptor.CPPTYPE_INT64: 2**63}
_WORDS = {
    FieldDescriptor.CPPTYPE_INT32: "a whole number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_MESSAGE: "a group of fields",
}


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields of a YAML file, as they stand there."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"no recipe can be read at {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InvalidInput(f"{path} holds no recipe", fix="write fields such as `name:` at its top")
    return values


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """The recipe that YAML or JSON describes, checked."""
    violations: list[Violation] = []
    message = recipe_pb2.Recipe()
    _fill(message, values, "", violations)
    _raise(violations)
    return recipe_from_message(message)


def recipe_from_message(message: recipe_pb2.Recipe) -> Recipe:
    """The recipe a message describes, checked, with its defaults."""
    violations: list[Violation] = []
    recipe = _read(Recipe, message, "", violations)
    _raise(violations)
    _raise(_violations_across(recipe))
    return recipe


def recipe_to_message(recipe: Recipe) -> recipe_pb2.Recipe:
    """The message with every default written out."""
    message = recipe_pb2.Recipe()
    _write(recipe, message)
    for section in meaningless_sections(recipe):
        message.ClearField(section)  # type: ignore[arg-type]
    return message


def _read(cls: type[SectionT], message: Message, path: str, violations: list[Violation]) -> SectionT:
    given: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        name, full_name = field.name, f"{path}{field.name}"
        descriptor = message.DESCRIPTOR.fields_by_name[name]
        value = getattr(message, name)
        if EACH in field.metadata:
            given[name] = tuple(
                _read(field.metadata[EACH], part, f"{full_name}[{index}].", violations)
                for index, part in enumerate(value)
            )
        elif descriptor.message_type is not None:
            given[name] = _read(field.default_factory, value, f"{full_name}.", violations)  # type: ignore[arg-type]
        elif message.HasField(name) if descriptor.has_presence else value != descriptor.default_value:
            problem = field.metadata[RULE](value)
            if problem:
                violations.append(violation(full_name, value, problem.text, problem.fix))
            else:
                given[name] = value
    return cls(**given)


def _write(section: object, message: Message) -> None:
    for field in fields(section):  # type: ignore[arg-type]
        value = getattr(section, field.name)
        if EACH in field.metadata:
            for part in value:
                _write(part, getattr(message, field.name).add())
        elif message.DESCRIPTOR.fields_by_name[field.name].message_type is not None:
            getattr(message, field.name).SetInParent()
            _write(value, getattr(message, field.name))
        elif value is not None:
            setattr(message, field.name, value)


def _violations_across(recipe: Recipe) -> list[Violation]:
    """Fields that are right alone and wrong together."""
    violations = []
    if not _NAME.fullmatch(recipe.name):
        problem = "is required" if not recipe.name else "is not the name of a model"
        fix = "write 1 to 63 characters of a-z, 0-9 and -, starting with a letter"
        violations.append(violation("name", recipe.name, problem, fix))
    warmup = recipe.schedule.warmup_steps
    if warmup is not None and warmup > recipe.run.steps:
        problem = f"is more than run.steps ({recipe.run.steps})"
        violations.append(violation("schedule.warmup_steps", warmup, problem, "warm up for fewer steps"))
    tokenizer = recipe.data.tokenizer
    if tokenizer.kind != "bpe" and tokenizer.vocab_size is not None:
        problem = f"cannot be chosen for a {tokenizer.kind} tokenizer"
        violations.append(
            violation("data.tokenizer.vocab_size", tokenizer.vocab_size, problem, "leave it out")
        )
    return violations + task_violations(recipe)


def _fill(message: Message, values: Mapping[Any, Any], path: str, violations: list[Violation]) -> None:
    known = message.DESCRIPTOR.fields_by_name
    for key, value in values.items():
        name = f"{path}{key}"
        if key not in known:
            violations.append(violation(name, value, "is not a field of a recipe", _guess(key, path, known)))
        elif value is None:
            continue
        elif known[key].message_type is not None and known[key].is_repeated:
            _fill_each(message, key, value, name, violations)
        elif known[key].message_type is not None and isinstance(value, Mapping):
            getattr(message, key).SetInParent()
            _fill(getattr(message, key), value, f"{name}.", violations)
        else:
            fitting = _fitting(known[key].cpp_type, value)
            if fitting is None:
                words = _WORDS[known[key].cpp_type]
                violations.append(violation(name, value, f"is not {words}", f"give {words}"))
            else:
                setattr(message, key, fitting)


def _fill_each(message: Message, key: str, values: Any, name: str, violations: list[Violation]) -> None:
    for index, part in enumerate(values if isinstance(values, list) else [values]):
        if isinstance(part, Mapping):
            _fill(getattr(message, key).add(), part, f"{name}[{index}].", violations)
        else:
            words = "a group of fields"
            violations.append(violation(f"{name}[{index}]", part, f"is not {words}", f"give {words}"))


def _fitting(kind: int, value: Any) -> Any:
    """The value as a field of this kind takes it; None where it does not."""
    if kind == FieldDescriptor.CPPTYPE_INT64 and isinstance(value, str) and value.isdecimal():
        value = int(value)  # as protobuf's own JSON writes 64-bit numbers
    if kind in _WHOLE:
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _WHOLE[kind]
        return value if fits else None
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        # YAML 1.1 reads 3e-4 as a string; people mean a number.
        try:
            return None if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            return None
    wanted = {FieldDescriptor.CPPTYPE_BOOL: bool, FieldDescriptor.CPPTYPE_STRING: str}.get(kind)
    return value if wanted is not None and isinstance(value, wanted) else None


def _guess(key: object, path: str, known: Mapping[str, object]) -> str:
    """The nearest field here, else the same name in another group."""
    near = difflib.get_close_matches(str(key), known, n=1)
    if near:
        return f"did you mean {path}{near[0]}?"
    for group, descriptor in recipe_pb2.Recipe.DESCRIPTOR.fields_by_name.items():
        if descriptor.message_type is not None and key in descriptor.message_type.fields_by_name:
            return f"did you mean {group}.{key}?"
    return f"known here are {', '.join(known)}"


def _raise(violations: list[Violation]) -> None:
    if violations:
        text = "; ".join(f"{each.field} = {each.description}" for each in violations)
        raise InvalidInput(text, violations=violations)
