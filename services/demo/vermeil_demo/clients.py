"""The gateway, asked in two ways."""

from dataclasses import dataclass
from typing import Self

import httpx
from vermeil_client import AsyncVermeil, Vermeil


@dataclass(frozen=True)
class Gateway:
    """What pages are given."""

    plain: Vermeil
    """For what is answered at once; asked in threads."""
    streams: AsyncVermeil
    """For answers that grow: whoever stops one ends the work behind it at once."""

    @classmethod
    def at(cls, url: str, api_key: str | None = None) -> Self:
        """The gateway at an address; without a key that of the settings."""
        return cls(Vermeil(url, api_key), AsyncVermeil(url, api_key))

    @classmethod
    def on(cls, transport: httpx.BaseTransport, streams: httpx.AsyncBaseTransport) -> Self:
        """A gateway in memory."""
        url = "http://gateway"
        return cls(Vermeil(url, http=transport), AsyncVermeil(url, http=streams))
