"""Refuses files over 400 lines and functions over 60: what nobody can hold in one head gets split."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from vermeil_build.tree import ROOT, python_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def violations(root: Path) -> Iterator[str]:
    """One sentence for each file or function that is too long."""
    for path in python_files(root):
        source = path.read_text(encoding="utf-8")
        name = path.relative_to(root)
        num_lines = len(source.splitlines())
        if num_lines > MAX_FILE_LINES:
            yield f"{name}: {num_lines} lines, at most {MAX_FILE_LINES} allowed: split it by subjects"
        try:
            tree = ast.parse(source, filename=str(path))
        except SyntaxError as error:
            yield f"{name}:{error.lineno}: {error.msg}"
            continue
        for function, num_lines in _functions(tree):
            if num_lines > MAX_FUNCTION_LINES:
                yield (
                    f"{name}:{function.lineno}: {function.name} has {num_lines} lines, "
                    f"at most {MAX_FUNCTION_LINES} allowed: name its steps"
                )


def _functions(tree: ast.AST) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def main() -> int:
    """Print every violation; the exit status is 1 if there is one."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    found = list(violations(root))
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
