"""Known weaknesses of the pins, by pip-audit; exceptions have a reason and a day on which they end.

`python -m vermeil_build.advisories`. Where the advisories cannot be had it says so and ends with
NOT_DONE, which is no success: first a package is asked for that is known to be weak, and if nothing
is known of it, nothing would be known of ours.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from vermeil_build.pins import PINS
from vermeil_build.tree import ROOT

EXCEPTIONS = Path("3rdparty/python/advisory-exceptions.toml")
FOUND, NOT_DONE = 1, 75
_KNOWN_WEAK = "jinja2==2.10"
"""CVE-2019-10906 and more: every source of advisories has it."""
_BANNER = "!" * 78


class Weakness(NamedTuple):
    """An advisory about one of the pins."""

    package: str
    version: str
    id: str
    fixed_in: str


@dataclass(frozen=True)
class Exemption:
    """An advisory that we live with until a day."""

    id: str
    package: str
    reason: str
    until: date


@dataclass(frozen=True)
class Told:
    """What pip-audit found out."""

    weaknesses: tuple[Weakness, ...]
    unknown: tuple[str, ...]
    """Packages of which the source of advisories knows nothing."""
    num_asked: int


def read_exemptions(file: Path) -> list[Exemption]:
    """The exceptions file; a missing or wrong field is a KeyError or TypeError with its name."""
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("exception", [])
    return [Exemption(each["id"], each["package"], each["reason"], each["until"]) for each in entries]


def judge(told: Told, exemptions: Sequence[Exemption], today: date) -> list[str]:
    """What has to be done; nothing if all is well."""
    problems = [
        f"{each.id} ({each.package}): its exception ended on {each.until}; update, or renew it"
        for each in exemptions
        if each.until < today
    ]
    known = {(each.package, each.id) for each in exemptions}
    problems += [
        f"{each.package} {each.version}: {each.id}, mended in {each.fixed_in or 'no version yet'}"
        for each in told.weaknesses
        if (each.package, each.id) not in known
    ]
    found = {(each.package, each.id) for each in told.weaknesses}
    asked = told.num_asked > 0
    problems += [
        f"{each.id} ({each.package}): its exception stands for nothing any more; take it out"
        for each in exemptions
        if asked and (each.package, each.id) not in found
    ]
    return problems


def ask(requirements: Path) -> Told:
    """Ask PyPI about every line; raises OSError where it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "-s", "pypi", "-f", "json", "--progress-spinner", "off"]
    command += ["--disable-pip", "--no-deps", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise OSError(last) from error
    return read_answer(told)


def read_answer(dependencies: list[dict[str, object]]) -> Told:
    """pip-audit's own JSON."""
    weaknesses, unknown = [], []
    for each in dependencies:
        name = str(each["name"])
        if "skip_reason" in each:
            unknown.append(name)
            continue
        for found in each["vulns"]:  # type: ignore[attr-defined]
            mended = ", ".join(found["fix_versions"])
            weaknesses.append(Weakness(name, str(each["version"]), found["id"], mended))
    return Told(tuple(weaknesses), tuple(unknown), len(dependencies))


def ask_about_pins() -> Told:
    """What is known of all pins; raises OSError where no answer is to be had, or an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(f"{_KNOWN_WEAK}\n", encoding="utf-8")
        if not ask(canary).weaknesses:
            raise OSError(f"PyPI's advisories know nothing of {_KNOWN_WEAK}, which is known to be weak")
    return ask(ROOT / PINS)


def main() -> int:
    """Ask, and say what has to be done."""
    exemptions = read_exemptions(ROOT / EXCEPTIONS)
    told, missing = Told((), (), 0), ""
    try:
        told = ask_about_pins()
    except OSError as error:
        missing = f"the pins were held against no advisory: {error}"
    if told.unknown:
        missing = f"nothing is known of {len(told.unknown)} pins: {', '.join(told.unknown[:10])}"
    problems = judge(told, exemptions, datetime.now(UTC).date())
    for problem in problems:
        print(f"advisories: {problem}")
    if missing:
        print(f"{_BANNER}\nadvisories: NOT DONE: {missing}\n{_BANNER}")
    if problems or missing:
        return FOUND if problems else NOT_DONE
    print(f"advisories: {told.num_asked} pins, {len(exemptions)} exceptions, nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
