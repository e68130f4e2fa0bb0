"""What is in an image, as a CycloneDX document: Python packages, and Debian's of its root.

Taken from what is installed, not from what was asked for, with the standard library alone. The same
image gives the same bytes.
"""

import json
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vermeil_build.root import DEBIAN, FOLDER

Json = dict[str, Any]
NAME = "sbom.cdx.json"
_SPEC = "1.6"
_MAX_LICENSE = 80


def document(unit: str, folders: list[Path], debian: Iterable[tuple[str, str, str]]) -> Json:
    """The document of an image of `unit`: packages in `folders`; `debian` is name, version, architecture."""
    found = sorted(distributions(path=[str(each) for each in folders]), key=lambda each: each.name.lower())
    (root,) = (_python(each) for each in found if each.name == unit)
    parts = [_python(each) for each in found if each.name != unit]
    parts += [_debian(*each) for each in sorted(debian)]
    depends = [{"ref": root["bom-ref"], "dependsOn": [each["bom-ref"] for each in parts]}]
    content: Json = {"metadata": {"component": root | {"type": "application"}}, "components": parts}
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
    }
    return {**head, **content, "dependencies": depends}


def write(unit: str, environment: Path, folders: list[Path]) -> Path:
    """Describe the packages of an environment, and the system it is on, in a file beside what it holds."""
    file = environment / NAME
    root = FOLDER if FOLDER.exists() else Path("/")
    text = json.dumps(document(unit, folders, installed_debian(root)), indent=1, sort_keys=True)
    file.write_text(text + "\n", encoding="utf-8")
    return file


def installed_debian(root: Path) -> Iterator[tuple[str, str, str]]:
    """Packages of a system; none where it is not Debian."""
    told = f"--admindir={root / DEBIAN}"
    command = ["dpkg-query", told, "-W", "-f", "${Package} ${Version} ${Architecture}\n"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return
    for line in told.splitlines():
        name, version, architecture = line.split()
        yield name, version, architecture


def _python(found: Distribution) -> Json:
    name = found.name.lower().replace("_", "-")
    part = _part(name, found.version, f"pkg:pypi/{quote(name)}@{quote(found.version)}")
    said = found.metadata.json
    if "license_expression" in said:
        return part | {"licenses": [{"expression": said["license_expression"]}]}
    told = str(said.get("license", "")).strip()
    if told and "\n" not in told and len(told) <= _MAX_LICENSE:
        return part | {"licenses": [{"license": {"name": told}}]}
    return part


def _debian(name: str, version: str, architecture: str) -> Json:
    return _part(name, version, f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}")


def _part(name: str, version: str, purl: str) -> Json:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
