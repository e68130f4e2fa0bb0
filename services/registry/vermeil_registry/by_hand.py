"""`python -m vermeil_registry backup | restore | collect`: for the containers of a deployment.

`vermeil backup`, `vermeil restore` and `vermeil collect` do the same for the house on this machine.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vermeil_artifacts import ArtifactStore, Collected, store_from_settings
from vermeil_errors import InvalidInput
from vermeil_settings import ArtifactSettings

from vermeil_registry.backup import KEEP, back_up, restore
from vermeil_registry.collect import DAYS, collect
from vermeil_registry.database import Database
from vermeil_registry.forget import forget
from vermeil_registry.settings import RegistrySettings
from vermeil_registry.snapshots import LATEST, Say, Snapshot, SnapshotFolder

_USAGE = f"""write one of
  backup FOLDER --keep N             the newest N of the folder's snapshots stay ({KEEP} unless told)
  restore FOLDER --list
  restore FOLDER --snapshot TIME     {LATEST} unless told
  collect --older-than DAYS          {DAYS} unless told"""


class HouseSettings(RegistrySettings, ArtifactSettings):
    """Where the rows are, and where the artifacts."""


def by_hand(arguments: Sequence[str], say: Say) -> None:
    """Do what the arguments say."""
    match list(arguments):
        case ["backup", folder]:
            save(Path(folder), KEEP, say)
        case ["backup", folder, "--keep", keep]:
            save(Path(folder), _number("keep", keep, KEEP), say)
        case ["restore", folder]:
            bring_back(Path(folder), LATEST, say)
        case ["restore", folder, "--snapshot", snapshot]:
            bring_back(Path(folder), snapshot, say)
        case ["restore", folder, "--list"]:
            for each in SnapshotFolder(Path(folder)).list(say):
                lost = f", {len(each.lost)} of them lost" if each.lost else ""
                say(f"{each.time}  {each.num_rows} rows, {len(each.artifacts)} artifacts{lost}")
        case ["collect"]:
            clear(DAYS, say)
        case ["collect", "--older-than", days]:
            clear(_number("older-than", days, DAYS), say)
        case _:
            raise InvalidInput(f"{' '.join(arguments)!r} says nothing to do", fix=_USAGE)


def save(folder: Path, keep: int, say: Say) -> Snapshot:
    """Back up into a folder what the settings name; the newest snapshots there stay."""
    with _house() as (_, database, store):
        return back_up(database, store, folder.absolute(), say, keep=keep)


def bring_back(folder: Path, snapshot: str, say: Say) -> Snapshot:
    """Restore from a folder into what the settings name; by a snapshot's time, or the latest."""
    with _house() as (_, database, store):
        return restore(database, store, folder.absolute(), say, snapshot=snapshot)


def clear(days: int, say: Say) -> Collected:
    """Remove from the store of the settings what their rows do not name, and rows that are kept no longer."""
    with _house() as (settings, database, store):
        removed = collect(database, store, days, say)
        forget(
            database,
            say,
            keep_lines_days=settings.keep_lines_days,
            keep_audit_days=settings.keep_audit_days,
        )
        return removed


def _number(field: str, said: str, usual: int) -> int:
    if not said.isdecimal():
        raise InvalidInput.for_field(field, said, "is no whole number", f"write one, such as {usual}")
    return int(said)


@contextmanager
def _house() -> Iterator[tuple[HouseSettings, Database, ArtifactStore]]:
    settings = HouseSettings.load()
    settings.make_home()
    database = Database(settings.database_url)
    try:
        yield settings, database, store_from_settings(settings)
    finally:
        database.close()
