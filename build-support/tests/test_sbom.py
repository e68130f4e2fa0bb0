"""The document of an image is CycloneDX as its schema wants it, and holds what is installed."""

import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from vermeil_build.sbom import document, write


def _install(site_packages: Path, name: str, version: str, **fields: str) -> None:
    folder = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"{key}: {value}" for key, value in fields.items())]
    (folder / "METADATA").write_text("Metadata-Version: 2.4\n" + "\n".join(lines) + "\n")


def test_the_document_is_valid_and_names_what_is_installed(tmp_path: Path) -> None:
    site_packages = tmp_path / "lib/python3.11/site-packages"
    _install(site_packages, "vermeil-registry", "0.1.0", **{"License-Expression": "Apache-2.0"})
    _install(site_packages, "SQLAlchemy", "2.1.0", License="MIT")
    _install(site_packages, "typing_extensions", "4.15.0", License="A text\n        of many lines")
    made = document("vermeil-registry", [site_packages], [("libc6", "2.36-9+deb12u10", "amd64")])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is None
    assert made["metadata"]["component"]["purl"] == "pkg:pypi/vermeil-registry@0.1.0"
    assert [part["purl"] for part in made["components"]] == [
        "pkg:pypi/sqlalchemy@2.1.0",
        "pkg:pypi/typing-extensions@4.15.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64",
    ]
    assert made["components"][0]["licenses"] == [{"license": {"name": "MIT"}}]
    assert made == document("vermeil-registry", [site_packages], [("libc6", "2.36-9+deb12u10", "amd64")])


def test_it_lies_beside_what_it_describes_and_names_the_layer_below(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    _install(own, "vermeil-trainer", "0.1.0")
    _install(shared, "torch", "2.14.1")
    made = json.loads(write("vermeil-trainer", tmp_path, [own, shared]).read_text())
    assert "pkg:pypi/torch@2.14.1" in {part["purl"] for part in made["components"]}
    assert (tmp_path / "sbom.cdx.json").is_file()
