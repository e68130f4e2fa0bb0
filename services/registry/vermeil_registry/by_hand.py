"""`python -m vermeil_registry backup FOLDER | restore FOLDER | collect`: for the containers of a deployment.

`vermeil backup`, `vermeil restore` and `vermeil collect` do the same for the house on this machine.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vermeil_artifacts import ArtifactStore, Collected, store_from_settings
from vermeil_errors import InvalidInput
from vermeil_settings import ArtifactSettings

from vermeil_registry.backup import Backup, Say, back_up, restore
from vermeil_registry.collect import DAYS, collect
from vermeil_registry.database import Database
from vermeil_registry.settings import RegistrySettings

_VERBS = {"backup": back_up, "restore": restore}


class HouseSettings(RegistrySettings, ArtifactSettings):
    """Where the rows are, and where the artifacts."""


def by_hand(arguments: Sequence[str], say: Say) -> None:
    """Do what the arguments say."""
    match list(arguments):
        case [("backup" | "restore") as verb, folder]:
            keep(verb, Path(folder), say)
        case ["collect"]:
            clear(DAYS, say)
        case ["collect", "--older-than", days] if days.isdecimal():
            clear(int(days), say)
        case _:
            raise InvalidInput(
                f"{' '.join(arguments)!r} says nothing to do",
                fix=f"write backup FOLDER, restore FOLDER, or collect --older-than DAYS ({DAYS} unless told)",
            )


def keep(verb: str, folder: Path, say: Say) -> Backup:
    """Back up into a folder, or restore from one, what the settings name."""
    with _house() as (database, store):
        return _VERBS[verb](database, store, folder.absolute(), say)


def clear(days: int, say: Say) -> Collected:
    """Remove from the store of the settings what their rows do not name."""
    with _house() as (database, store):
        return collect(database, store, days, say)


@contextmanager
def _house() -> Iterator[tuple[Database, ArtifactStore]]:
    settings = HouseSettings.load()
    settings.make_home()
    database = Database(settings.database_url)
    try:
        yield database, store_from_settings(settings)
    finally:
        database.close()
