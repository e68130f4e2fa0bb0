"""`python -m vermeil_registry backup FOLDER` and `… restore FOLDER`: for the containers of a deployment.

`vermeil backup` and `vermeil restore` do the same for the house on this machine.
"""

from collections.abc import Sequence
from pathlib import Path

from vermeil_artifacts import store_from_settings
from vermeil_errors import InvalidInput
from vermeil_settings import ArtifactSettings

from vermeil_registry.backup import Backup, Say, back_up, restore
from vermeil_registry.database import Database
from vermeil_registry.settings import RegistrySettings

_VERBS = {"backup": back_up, "restore": restore}


class HouseSettings(RegistrySettings, ArtifactSettings):
    """Where the rows are, and where the artifacts."""


def by_hand(arguments: Sequence[str], say: Say) -> Backup:
    """Back up into a folder, or restore from one, what the settings name."""
    if len(arguments) != 2 or arguments[0] not in _VERBS:
        raise InvalidInput(
            f"{' '.join(arguments)!r} says nothing to do", fix="write backup FOLDER or restore FOLDER"
        )
    settings = HouseSettings.load()
    settings.make_home()
    database = Database(settings.database_url)
    try:
        return _VERBS[arguments[0]](
            database, store_from_settings(settings), Path(arguments[1]).absolute(), say
        )
    finally:
        database.close()
