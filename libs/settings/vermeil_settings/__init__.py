"""Typed settings, read once from the environment; every variable documented."""

from vermeil_settings.common import (
    Address,
    ArtifactSettings,
    BrokerSettings,
    CommaSeparated,
    CommonSettings,
    LogFormat,
    LogLevel,
)
from vermeil_settings.settings import Settings, Variable, describe

__all__ = [
    "Address",
    "ArtifactSettings",
    "BrokerSettings",
    "CommaSeparated",
    "CommonSettings",
    "LogFormat",
    "LogLevel",
    "Settings",
    "Variable",
    "describe",
]
