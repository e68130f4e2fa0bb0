"""What is cut off of a shared object is what no system loads."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from vermeil_build.symbols import cut, cut_all

_USE = """
import sys
sys.path.insert(0, sys.argv[1])
import yaml
assert yaml.__file__.startswith(sys.argv[1])
print(yaml.load("{a: [1, 2]}", Loader=yaml.CSafeLoader))
"""


def test_a_library_without_its_symbols_does_what_it_did(tmp_path: Path) -> None:
    shutil.copytree(Path(yaml.__file__).parent, tmp_path / "yaml")
    (library,) = (tmp_path / "yaml").glob("_yaml.*.so")
    size = library.stat().st_size
    gone = cut_all(tmp_path)
    assert size - gone == library.stat().st_size < size
    done = subprocess.run([sys.executable, "-c", _USE, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout == "{'a': [1, 2]}\n", done.stderr
    assert cut_all(tmp_path) == 0


def test_what_is_no_shared_object_stays_as_it_is(tmp_path: Path) -> None:
    texts = {
        "libc.so": b"GROUP ( /lib/libc.so.6 )\n",
        "empty.so": b"",
        "object.so": b"\x7fELF\x02\x01" + bytes(90),
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
        assert cut(tmp_path / name) == 0
        assert (tmp_path / name).read_bytes() == content
