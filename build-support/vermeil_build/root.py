"""What an image without torch keeps of its base: Python, what Python and wheels load, and certificates.

`python -m vermeil_build.root` fills a folder while an image is built; it becomes the image's whole root, so
there is no shell and no package manager in it. What else Debian's packages hold stays behind.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from vermeil_build.bytecode import compile_all

FOLDER = Path("/opt/root")
DEBIAN = Path("var/lib/dpkg")
"""Where a root says which of Debian's packages it has something of; scanners look there."""
_OF_WHEELS = (
    *("libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0"),
    *("libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1"),
)
"""What wheels for Linux may count on (manylinux), but for a screen."""
_SYSTEM = (
    *("/etc/group", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/os-release"),
    *("/etc/passwd", "/etc/protocols", "/etc/services", "/usr/share/zoneinfo"),
    "/usr/share/ca-certificates",  # where the links in OpenSSL's folder lead
)
_UNUSED = shutil.ignore_patterns(
    *("test", "idlelib", "lib2to3", "pydoc_data", "tkinter", "turtledemo", "ensurepip", "config-3*"),
    *("site-packages", "dist-packages", "sitecustomize.py", "_tkinter.*", "_dbm.*", "nis.*"),
)
"""Of the standard library: tests, windows, and what no service needs, with the libraries that it loads."""
_LOADED = re.compile(r"(/\S+) \(0x")


def loaded(files: Iterable[Path]) -> set[Path]:
    """Shared objects that these load, as the system finds them; those that it has not got are left out."""
    command: list[str | Path] = ["ldd", *files]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return {Path(each) for each in _LOADED.findall(told.stdout)}


def keep(path: Path, folder: Path, base: Path = Path("/")) -> None:
    """Copy a file, or a folder but for what is unused, and the links that lead to it, from a base."""
    for part in (*reversed(path.parents), path):
        link, place = base / part.relative_to("/"), folder / part.relative_to("/")
        if link.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(link.readlink())
            behind = part.parent / link.readlink() / path.relative_to(part)
            keep(Path(os.path.normpath(behind)), folder, base)
            return
    if link.is_dir():
        shutil.copytree(link, place, symlinks=True, ignore=_UNUSED, dirs_exist_ok=True)
    elif link.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(link, place)


def _wanted(folder: Path) -> Iterator[Path]:
    """The standard library is in `folder` already."""
    program = Path(sys.executable)
    yield program
    objects = loaded([program, *folder.glob("**/lib-dynload/*.so")])
    yield from objects
    for name, place in {(name, each.parent) for name in _OF_WHEELS for each in objects}:
        if (place / name).exists():
            yield place / name
    paths = ssl.get_default_verify_paths()
    yield Path(paths.openssl_cafile)
    yield Path(paths.openssl_capath)
    yield Path(paths.openssl_cafile).with_name("openssl.cnf")
    yield from map(Path, _SYSTEM)


def note_debian(folder: Path, base: Path = Path("/")) -> None:
    """Write down which of Debian's packages the folder has something of; nothing where it is not Debian."""
    status = base / DEBIAN / "status"
    if not status.exists():
        return
    files = [f"/{each.relative_to(folder)}" for each in folder.rglob("*") if not each.is_dir()]
    spelt = [*files, *(each.removeprefix("/usr") for each in files)]  # it knows some by where they were
    asked = ["dpkg-query", f"--admindir={base / DEBIAN}", "-S", *spelt]
    told = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    owners = {line.partition(":")[0] for line in told.stdout.splitlines()}
    stanzas = status.read_text(encoding="utf-8").split("\n\n")
    kept = [each for each in stanzas if each.partition("\n")[0].removeprefix("Package: ") in owners]
    (folder / DEBIAN).mkdir(parents=True)
    (folder / DEBIAN / "status").write_text("\n\n".join([*kept, ""]), encoding="utf-8")


def main() -> int:
    """Fill the folder."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    keep(stdlib, FOLDER)
    compile_all(FOLDER / stdlib.relative_to("/"))
    for path in sorted(set(_wanted(FOLDER))):
        keep(path, FOLDER)
    note_debian(FOLDER)
    (FOLDER / "tmp").mkdir()
    (FOLDER / "tmp").chmod(0o1777)
    return 0


if __name__ == "__main__":
    sys.exit(main())
