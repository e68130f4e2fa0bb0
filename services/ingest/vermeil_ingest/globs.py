"""Globs on relative paths, the same on every system: `**` any folders, `*` and `?` within one name.

A pattern without a slash means the name alone, at any depth, as in .gitignore.
"""

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    path = pattern.strip("/")
    if "/" not in path:
        path = f"**/{path}"
    parts = path.split("/")
    expression = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            expression += ".*" if last else "(?:[^/]+/)*"
        else:
            expression += _segment(part) + ("" if last else "/")
    return re.compile(expression, re.DOTALL)


def _segment(part: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in part)


def matches(path: str, pattern: str) -> bool:
    """Whether a relative path with forward slashes matches."""
    return _compiled(pattern).fullmatch(path) is not None
