"""Where things are in the repository: its units, their packages, the files that people write by hand."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT_PATTERNS = ("libs/*", "services/*", "services/encoders/*", "infra/*")
CODE_FOLDERS = ("libs", "services", "infra", "tests", "build-support")


def units(root: Path) -> list[Path]:
    """Folders of all units: each has its own pyproject.toml."""
    found = {path.parent for pattern in UNIT_PATTERNS for path in root.glob(f"{pattern}/pyproject.toml")}
    return sorted(found)


def packages(root: Path) -> list[Path]:
    """Importable packages that people write: vermeil_* of every unit and of build-support."""
    folders = [*units(root), root / "build-support"]
    return sorted(path.parent for folder in folders for path in folder.glob("vermeil_*/__init__.py"))


def python_files(root: Path) -> Iterator[Path]:
    """Hand-written Python files; generated code and database migrations are not among them."""
    for folder in CODE_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).parts
            is_generated = parts[:3] == ("libs", "contracts", "vermeil")
            is_migration = "versions" in parts and "migrations" in parts
            is_built = any(part.startswith(".") or part in {"build", "dist"} for part in parts)
            if not (is_generated or is_migration or is_built):
                yield path
