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
from vermeil_settings.tls import TLS_CA, TLS_CERTIFICATE, TLS_KEY, Tls
from vermeil_settings.version import VERSION, code_version

__all__ = [
    "TLS_CA",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "VERSION",
    "Address",
    "ArtifactSettings",
    "BrokerSettings",
    "CommaSeparated",
    "CommonSettings",
    "LogFormat",
    "LogLevel",
    "Settings",
    "Tls",
    "Variable",
    "code_version",
    "describe",
]
