"""Generate libs/contracts/vermeil from protos/: messages, services and their type stubs.

Run it after every change of a .proto file and commit what it writes. It needs only what the pins
install; files whose .proto is gone are removed.
"""

import argparse
import sys
import sysconfig
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

_HERE = Path(__file__).resolve().parent
PROTOS = _HERE.parent.parent / "protos"
"""Where the contract is written."""
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
"""Names of the files that belong to this script."""


def generate(out: Path, protos: Path = PROTOS) -> None:
    """Write the code of every .proto below `protos` to `out`; modules are named vermeil.<domain>.v1."""
    for stale in (path for pattern in GENERATED for path in out.glob(f"vermeil/**/{pattern}")):
        stale.unlink()
    names = sorted(path.relative_to(protos).as_posix() for path in protos.glob("vermeil/**/*.proto"))
    services = [name for name in names if name.endswith("_service.proto")]
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    include = [f"-I{protos}", f"-I{well_known}"]
    _protoc(*include, f"--python_out={out}", f"--mypy_out=quiet:{out}", *names)
    _protoc(*include, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services)


def _protoc(*arguments: str) -> None:
    scripts = Path(sysconfig.get_path("scripts"))
    plugins = [f"--plugin={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    if protoc.main(["protoc", *plugins, *arguments]) != 0:
        sys.exit("protoc failed; its message is above")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=_HERE, help="folder that gets vermeil/ (default: beside this script)"
    )
    generate(parser.parse_args().out)
