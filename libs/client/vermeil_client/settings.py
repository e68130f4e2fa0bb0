"""Where the gateway is and how to be let in."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr
from vermeil_errors import Unavailable
from vermeil_settings import Settings

DEFAULT_URL = "http://127.0.0.1:8080"
ENDPOINT_FILE = "endpoint.json"


class ClientSettings(Settings):
    """What the SDK and the command line read."""

    home: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Path("~/.vermeil")
    """Folder of a local Vermeil; its endpoint.json names the gateway while `vermeil up` runs."""
    url: str | None = None
    """Address of the gateway; default: the local one of this home; where no home is set, http://127.0.0.1:8080."""
    api_key: SecretStr | None = None
    """Key sent as `Authorization: Bearer`; not needed where the gateway asks for none."""

    def gateway_url(self) -> str:
        """The address to call: what was set, what `vermeil up` wrote down, or the default.

        Raises:
            Unavailable: A home was named on which nothing runs. Whatever answers at the default address is
                another Vermeil, whose jobs and models are not meant.
        """
        if self.url:
            return self.url.rstrip("/")
        try:
            return str(json.loads((self.home / ENDPOINT_FILE).read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError):
            if "home" not in self.model_fields_set:
                return DEFAULT_URL
        raise Unavailable(
            "nothing runs on it",
            field="VERMEIL_HOME",
            value=str(self.home),
            fix="start it with `vermeil up`, or name a gateway in VERMEIL_URL",
        )
