"""What is left out of images is what nothing needs to run."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow
from vermeil_build.slim import slim, surplus

_LOADED = """
import json, sys
import pyarrow.compute, pyarrow.dataset, pyarrow.fs, pyarrow.parquet
maps = [line.split()[-1] for line in open("/proc/self/maps")]
modules = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(json.dumps(sorted({each for each in maps + modules if "/pyarrow/" in each})))
"""


def test_tests_and_static_libraries_go_and_all_else_stays(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    kept = ("numpy/core.py", "numpy/testing/tools.py", "pyarrow/libarrow.so", "torch/include/torch.h")
    gone = ("numpy/core/tests/data/a.txt", "numpy/lib/tests/libb.a", "numpy/libc.a", "pyarrow/include/d.h")
    for name in (*kept, *gone):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    slim(tmp_path)
    left = [each for each in packages.rglob("*") if each.is_file()]
    assert sorted(left) == sorted(map(packages.joinpath, kept))


def test_nothing_that_reads_arrow_and_parquet_loads_is_left_out(tmp_path: Path) -> None:
    asked = [sys.executable, "-c", _LOADED]
    loaded = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    folder = Path(pyarrow.__file__).resolve().parent
    (tmp_path / "pyarrow").mkdir()
    for each in folder.iterdir():
        (tmp_path / "pyarrow" / each.name).symlink_to(each)
    left_out = {each.name for each in surplus(tmp_path)}
    assert any("flight" in each for each in left_out)
    used = {Path(each).resolve().relative_to(folder).parts[0] for each in loaded}
    assert "libparquet" in "".join(used)
    assert not used & left_out
