"""What is left out of images is what nothing needs to run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow
from vermeil_build.slim import slim

_USE = """
import sys
sys.path.insert(0, sys.argv[1])
import pyarrow, pyarrow.compute, pyarrow.dataset, pyarrow.fs, pyarrow.parquet
assert pyarrow.__file__.startswith(sys.argv[1])
pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), sys.argv[2])
print(pyarrow.parquet.read_table(sys.argv[2])["a"].to_pylist())
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


def test_arrow_and_parquet_work_without_what_is_left_out(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    shutil.copytree(Path(pyarrow.__file__).parent, packages / "pyarrow")
    slim(tmp_path)
    left = {each.name.partition(".")[0] for each in (packages / "pyarrow").iterdir()}
    assert "libparquet" in left
    assert not left & {"libarrow_s3", "libarrow_flight", "include"}
    asked = [sys.executable, "-c", _USE, packages, tmp_path / "a.parquet"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.stdout == "[1, 2]\n", done.stderr
