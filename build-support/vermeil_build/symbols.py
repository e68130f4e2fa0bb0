"""Cuts off of shared objects what only debuggers and linkers read: names and lines of what is inside.

Half of a wheel can be of that. What a system loads of a file is told by its segments, so the file can end
with the last of these; nothing can be linked against it any more.
"""

import struct
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
"""Of 64 bits, little end first, as on x86 and ARM."""
_SHARED = 3
_HEADER = struct.Struct("<16xH14xQ14xHH")
"""Kind; where the table of segments is; the size of a line of it, and how many it has."""
_SEGMENT = struct.Struct("<8xQ16xQ")
"""Where it begins in the file, and how much of the file it is."""
_SECTIONS = (slice(40, 48), slice(60, 64))
"""In the header: where the other table is, of sections; how many lines it has, and which has names."""


def cut(file: Path) -> int:
    """End a shared object where its segments end; gives the bytes that went, 0 of any other file."""
    content = bytearray(file.read_bytes())
    if not content.startswith(_MAGIC):
        return 0
    kind, table, size, count = _HEADER.unpack_from(content)
    if kind != _SHARED:
        return 0
    ends = [sum(_SEGMENT.unpack_from(content, table + each * size)) for each in range(count)]
    end = max(table + size * count, *ends)
    surplus: int = len(content) - end
    del content[end:]
    for field in _SECTIONS:
        content[field] = bytes(field.stop - field.start)
    file.write_bytes(content)
    return surplus


def cut_all(folder: Path) -> int:
    """Cut every shared object below a folder; gives the bytes that went."""
    return sum(cut(each) for each in folder.rglob("*.so*") if each.is_file() and not each.is_symlink())
