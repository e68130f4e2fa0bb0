"""What the Dockerfile says by hand is what the code says."""

import ast
import re

import pytest
from vermeil_build.tree import ROOT
from vermeil_settings import VERSION

DOCKERFILE = (ROOT / "infra/containers/Dockerfile").read_text(encoding="utf-8")


def imported(module: str) -> set[str]:
    """Modules of vermeil_build that this one stands on, itself among them."""
    file = ROOT / f"build-support/vermeil_build/{module}.py"
    found = {module}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vermeil_build."):
            found |= imported(str(node.module).removeprefix("vermeil_build."))
    return found


@pytest.mark.parametrize("module", ["root", "torch_layer"])
def test_a_shared_layer_is_made_of_the_files_it_takes_and_no_others(module: str) -> None:
    (stage,) = (
        each for each in re.split(r"^FROM ", DOCKERFILE, flags=re.M) if f"vermeil_build.{module}\n" in each
    )
    copied = set(re.findall(r"vermeil_build/(\w+)\.py", stage))
    assert copied == imported(module) | {"__init__"}


def test_an_image_is_labelled_with_the_version_of_the_house() -> None:
    assert f"org.opencontainers.image.version={VERSION} " in DOCKERFILE
