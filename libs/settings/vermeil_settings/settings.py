"""Settings: a frozen class whose fields are environment variables.

Knows how a variable is named, read, checked and described; knows no service. Descriptions are the
docstrings under the fields, and a field without one is refused where its class is defined.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from vermeil_errors import InvalidInput, Violation

_PREFIX = "VERMEIL_"


class Settings(BaseSettings):
    """Base of every service's settings; field `log_level` is read from VERMEIL_LOG_LEVEL."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bare = [name for name, field in cls.model_fields.items() if not field.description]
        if bare:
            raise TypeError(f"{cls.__name__}.{bare[0]} needs a docstring below it that says what it is for")

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment once; `overrides` (by field name) win over it."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise _invalid(cls, error) from error
        except SettingsError as error:
            raise InvalidInput(str(error), fix="see the README of the service for its variables") from error


@dataclass(frozen=True)
class Variable:
    """One environment variable as a README or `vermeil doctor` shows it."""

    name: str
    """VERMEIL_LOG_LEVEL"""
    type: str
    """int, str, a choice such as `json | text`, …"""
    default: str | None
    """None when the variable must be set; derived values show `$VERMEIL_HOME`."""
    description: str
    """What it is for, with unit and range."""


def describe(settings: type[Settings]) -> list[Variable]:
    """Every variable of a settings class, in the order of its fields."""
    return [
        Variable(_variable_name(name, field), _type_name(field), _default(field), field.description or "")
        for name, field in settings.model_fields.items()
    ]


def _variable_name(field_name: str, field: FieldInfo | None) -> str:
    alias = field.validation_alias if field else None
    return alias if isinstance(alias, str) else _PREFIX + field_name.upper()


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return "secret" if issubclass(annotation, SecretStr) else annotation.__name__
    text = str(annotation).replace("typing.", "").replace(f"{SecretStr.__module__}.SecretStr", "secret")
    if text.startswith("Literal["):
        return " | ".join(str(choice) for choice in getattr(annotation, "__args__", ()))
    return text


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    if field.default_factory is not None and field.default_factory_takes_validated_data:
        value: object = field.get_default(
            call_default_factory=True, validated_data={"home": Path(f"${_PREFIX}HOME")}
        )
    else:
        value = field.get_default(call_default_factory=True)
    return "" if value is None else str(value)


def _invalid(settings: type[Settings], error: ValidationError) -> InvalidInput:
    violations = []
    for detail in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in detail["loc"])
        name = str(detail["loc"][0]) if detail["loc"] else ""
        variable = (
            _variable_name(name, settings.model_fields.get(name)) if name in settings.model_fields else path
        )
        problem = detail["msg"].removeprefix("Value error, ")
        if not detail["loc"]:  # of several fields together: the check names the variable itself
            variable, _, problem = problem.partition(": ")
        violations.append(Violation(variable or settings.__name__, problem[:1].lower() + problem[1:]))
    summary = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return InvalidInput(summary, fix="set it in the environment and start again", violations=violations)
