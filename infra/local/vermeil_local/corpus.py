"""A corpus without downloads: the English in the Python installation at hand.

Documentation strings of the standard library and of the installed packages, and the language reference
that `help()` shows. Sources are parsed, never imported.
"""

import ast
import importlib.resources
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_SHORTEST = 200
_PACKAGES = ("numpy", "pyarrow", "sqlalchemy", "celery", "fastapi", "torch/nn", "torch/optim", "torch/utils")


def write_corpus(folder: Path, *, max_bytes: int = 12_000_000) -> int:
    """Write one text file for each module that has something to say; returns how many.

    Args:
        folder: Made if missing; files already there are overwritten.
        max_bytes: Stops once this much text is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_files = num_bytes = 0
    for name, text in _texts():
        raw = text.encode("utf-8", errors="ignore")
        if num_bytes + len(raw) > max_bytes:
            break
        (folder / f"{name}.txt").write_bytes(raw)
        num_files += 1
        num_bytes += len(raw)
    return num_files


def _texts() -> Iterator[tuple[str, str]]:
    yield from _reference()
    standard = Path(sysconfig.get_path("stdlib"))
    yield from _documented(standard, standard)
    installed = Path(sysconfig.get_path("purelib"))
    for package in _PACKAGES:
        yield from _documented(installed / package, installed)


def _reference() -> Iterator[tuple[str, str]]:
    """The language reference as the interactive help shows it, topic by topic."""
    source = importlib.resources.files("pydoc_data").joinpath("topics.py")
    if not source.is_file():
        return
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            topic, text = (getattr(part, "value", None) for part in (key, value))
            if isinstance(topic, str) and isinstance(text, str):
                yield f"topic-{topic}", f"{text.strip()}\n"


def _documented(folder: Path, root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(root)
        if {"site-packages", "test", "tests", "idlelib"} & set(relative.parts):
            continue
        text = documentation(path)
        if len(text) >= _SHORTEST:
            yield ".".join(relative.with_suffix("").parts), text


def documentation(path: Path) -> str:
    """All documentation strings of a module, in order, under the names they describe."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return ""
    parts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                title = "" if isinstance(node, ast.Module) else f"{node.name}\n\n"
                parts.append(f"{title}{text.strip()}\n")
    return "\n".join(parts)
