"""What is kept of a base can be found where it was, and Debian's list names what is there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from vermeil_build.image import check_root
from vermeil_build.root import keep, loaded, note_debian
from vermeil_build.setup import SetupError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A system whose /lib is /usr/lib, with one library by two names, and a folder."""
    lib = tmp_path / "base/usr/lib"
    for name in ("libz.so.1.2", "python3.11/json/tool.py", "python3.11/test/test_json.py"):
        (lib / name).parent.mkdir(parents=True, exist_ok=True)
        (lib / name).write_text(name)
    (lib / "libz.so.1").symlink_to("libz.so.1.2")
    (tmp_path / "base/lib").symlink_to("usr/lib")
    return tmp_path / "base"


def test_a_library_is_kept_with_the_links_that_lead_to_it(base: Path, tmp_path: Path) -> None:
    for _ in range(2):
        keep(Path("/lib/libz.so.1"), tmp_path / "root", base)
    assert (tmp_path / "root/lib").readlink() == Path("usr/lib")
    assert (tmp_path / "root/lib/libz.so.1").read_text() == "libz.so.1.2"
    assert _names(tmp_path / "root/usr/lib") == ["libz.so.1", "libz.so.1.2"]


def test_the_library_of_python_is_kept_without_its_tests(base: Path, tmp_path: Path) -> None:
    keep(Path("/usr/lib/python3.11"), tmp_path / "root", base)
    assert _names(tmp_path / "root/usr/lib/python3.11") == ["json"]
    keep(Path("/etc/nsswitch.conf"), tmp_path / "root", base)  # there is none
    assert not (tmp_path / "root/etc").exists()


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="needs Debian's dpkg")
def test_of_debian_those_packages_are_named_that_are_there(base: Path, tmp_path: Path) -> None:
    (base / "var/lib/dpkg/info").mkdir(parents=True)
    owned = {"zlib1g": "/lib/libz.so.1.2", "libpython3.11-stdlib": "/usr/lib/python3.11/json/tool.py"}
    stanzas = []
    for name, file in {**owned, "perl-base": "/usr/bin/perl"}.items():
        (base / f"var/lib/dpkg/info/{name}.list").write_text(f"{file}\n")
        told = (
            "Status: install ok installed",
            "Version: 1",
            "Architecture: all",
            "Maintainer: a",
            "Description: b",
        )
        stanzas.append("\n".join((f"Package: {name}", *told)) + "\n")
    (base / "var/lib/dpkg/status").write_text("\n".join(stanzas))
    for each in ("/lib/libz.so.1", "/usr/lib/python3.11"):
        keep(Path(each), tmp_path / "root", base)
    note_debian(tmp_path / "root", base)
    command = ["dpkg-query", f"--admindir={tmp_path / 'root/var/lib/dpkg'}", "-W", "-f", "${Package}\n"]
    named = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(named) == owned.keys()


def test_an_image_whose_packages_miss_a_library_is_refused(tmp_path: Path) -> None:
    import grpc._cython.cygrpc as module

    environment, root = tmp_path / "environment", tmp_path / "root"
    environment.mkdir()
    shutil.copy2(str(module.__file__), environment)
    objects = loaded(environment.iterdir())
    assert any(each.name.startswith("libc.") for each in objects)
    with pytest.raises(SetupError, match="packages load it, and the image's root is without it"):
        check_root(environment, root)
    for each in objects:
        keep(each, root)
    check_root(environment, root)
    assert not loaded([Path(sys.executable).parent / "nothing"])


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())
