"""Bad pictures are left out and counted, or refused by name; none of them takes the job along."""

import os
import select
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vermeil_errors import InvalidInput, PermissionDenied, TooLarge, VermeilError
from vermeil_ingest.images import look
from vermeil_ingest.images.candidates import BadCandidate, Candidate, Found
from vermeil_ingest.images.facts import Looking
from vermeil_ingest.images.look import Lookers
from vermeil_ingest.sources import Source
from vermeil_media import ImageLimits

from .pictures import fill, nonzero, png, run, samples, tar_of


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = fill(tmp_path / "shelf", "good.png")
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "page.png").write_text("<!DOCTYPE html><html></html>")
    (folder / "cut.png").write_bytes(png(3, 200, 200)[:500])
    (folder / "drawing.tif").write_bytes(b"II*\0" + bytes(30))
    return folder


def test_bad_pictures_are_left_out_counted_and_listed(tmp_path: Path, shelf: Path) -> None:
    dataset = run(tmp_path, Source(shelf))
    assert list(samples(dataset)) == ["good.png"]
    assert nonzero(dataset) == {
        "files_found": 5,
        "written": 1,
        "too_large": 1,
        "mislabelled": 2,
        "malformed": 1,
    }
    reasons = {entry.id: entry.reason for entry in dataset.card.skipped}
    assert "60,000 × 60,000" in reasons["bomb.png"]
    assert reasons["page.png"] == "is not a picture in PNG, JPEG, WebP or GIF: it is an HTML page"
    assert "it is a TIFF picture" in reasons["drawing.tif"]
    assert reasons["cut.png"].startswith("is not a whole picture")


@pytest.mark.parametrize(
    ("name", "error"),
    [("bomb.png", TooLarge), ("page.png", InvalidInput), ("cut.png", InvalidInput)],
)
def test_where_bad_files_are_refused_they_are_named(
    tmp_path: Path, shelf: Path, name: str, error: type[VermeilError]
) -> None:
    with pytest.raises(error, match=name):
        run(tmp_path, Source(shelf, include=(name, "good.png")), bad_files="refuse")


def test_a_folder_of_bad_pictures_alone_is_refused_with_what_is_wrong(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"no usable picture among 2: 2 mislabelled; for example drawing\.tif"
    ):
        run(tmp_path, Source(shelf, include=("page.png", "drawing.tif")))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "shelf", "good.png", "linked.png")
    fill(tmp_path / "outside", "secret.png", "other.png", "third.png")
    (folder / "link.png").symlink_to(tmp_path / "outside/third.png")
    (folder / "inner.png").symlink_to(folder / "linked.png")
    (folder / "folder").symlink_to(tmp_path / "outside")
    dataset = run(tmp_path, Source(folder))
    assert dataset.card.counts["escaping"] == 1
    assert set(samples(dataset)) <= {"good.png", "linked.png", "inner.png"}
    with pytest.raises(PermissionDenied, match=r"link\.png: is a link that leads out of the folder"):
        run(tmp_path, Source(folder), bad_files="refuse")


def test_names_and_links_that_lead_out_of_an_archive_are_refused(tmp_path: Path) -> None:
    members = {"good.png": png(0), "../../escape.png": png(1), "/abs.png": png(2), "a\\..\\b.png": png(3)}
    path = tar_of(tmp_path / "a.tar", members)
    with tarfile.open(path, "a") as archive:
        for kind, name in (
            (tarfile.SYMTYPE, "sym.png"),
            (tarfile.LNKTYPE, "hard.png"),
            (tarfile.FIFOTYPE, "p.png"),
        ):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "/etc/passwd"
            archive.addfile(about)
    dataset = run(tmp_path, Source(path))
    assert list(samples(dataset)) == ["a.tar/good.png"]
    assert dataset.card.counts["escaping"] == 6
    assert not (tmp_path.parent / "escape.png").exists()
    with pytest.raises(InvalidInput, match=r"escape\.png: has a name that leads out of the archive"):
        run(tmp_path, Source(path), bad_files="refuse")


def test_a_broken_or_huge_archive_is_told_as_such(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", {f"{number}.png": png(number) for number in range(5)}).read_bytes()
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "cut.tar").write_bytes(whole[:2700])
    (shelf / "page.tar").write_text("<html>" * 300)
    dataset = run(tmp_path, Source(shelf))
    assert dataset.card.counts["malformed"] == 2
    assert dataset.card.counts["written"] >= 1


def test_a_broken_parquet_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nothing more")
    with pytest.raises(InvalidInput, match="has no column of pictures"):
        run(tmp_path, Source(tmp_path / "rows.parquet"), media="image")


LOOKING = Looking(sharpness=False, hash=False, limits=ImageLimits())


def candidates(count: int) -> Iterator[Found]:
    for number in range(count):
        yield Candidate(f"{number}.png", png(number))


def test_a_picture_that_kills_its_process_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake_looker.py"
    fake.write_text(
        "import json, os, pathlib, sys, time\n"
        "while line := sys.stdin.buffer.readline():\n"
        "    for raw in [sys.stdin.buffer.read(size) for size in json.loads(line)]:\n"
        "        if raw == b'die': os.kill(os.getpid(), 9)\n"
        "        while raw == b'hang':\n"
        "            pathlib.Path(sys.argv[1], str(os.getpid())).touch()\n"
        "            time.sleep(0.05)\n"
        "        facts = {'width': len(raw), 'height': 1, 'media_type': 'image/png'}\n"
        "        print(json.dumps(facts), flush=True)\n"
    )
    started: list[subprocess.Popen[bytes]] = []
    real_popen, real_select = subprocess.Popen, select.select

    def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        started.append(real_popen([command[0], str(fake), str(tmp_path)], **options))
        return started[-1]

    def wait_for(waited: list[object], _: object, __: object, seconds: float) -> tuple[list[object], ...]:
        """The time of a process that hangs is up, and that of no other."""
        assert 0 <= seconds <= 1
        (process,) = (each for each in started if each.stdout in waited)
        while not real_select(waited, [], [], 0.05)[0]:
            if (tmp_path / str(process.pid)).exists():
                return [], [], []
        return waited, [], []

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(look, "select", SimpleNamespace(select=wait_for))
    raws = [b"x" * (number + 1) for number in range(200)]
    raws[3], raws[70], raws[71], raws[199] = b"die", b"hang", b"die", b"die"
    found = [Candidate(f"{number}", raw) for number, raw in enumerate(raws)]
    with Lookers(LOOKING, 2, seconds=1.0) as lookers:
        seen = list(lookers.look(found))
    for number, each in enumerate(seen):
        if number in (3, 70, 71, 199):
            assert isinstance(each, BadCandidate)
            assert each.error.metadata == {"problem": "crashed"}
            expected = "took more than 1 seconds" if number == 70 else "ended the process"
            assert expected in each.error.message
        else:
            assert not isinstance(each, BadCandidate)
            assert (each[0].id, each[1].width) == (str(number), number + 1)


def test_a_process_that_talks_without_end_is_given_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake_looker.py"
    fake.write_text("import os\nwhile True: os.write(1, b'x')\n")
    real_popen, real_select, late = subprocess.Popen, select.select, 0

    def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        return real_popen([command[0], str(fake)], **options)

    def until_it_talks(waited: list[Any], _: object, __: object, seconds: float) -> tuple[list[Any], ...]:
        nonlocal late
        late += seconds == 0
        assert late <= 1
        return real_select(waited, [], [])

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(look, "select", SimpleNamespace(select=until_it_talks))
    with Lookers(LOOKING, 1, seconds=0.2) as lookers:
        (seen,) = lookers.look([Candidate("0", b"x")])
    assert isinstance(seen, BadCandidate)
    assert "took more than 0.2 seconds" in seen.error.message


def test_the_processes_end_with_the_work() -> None:
    with Lookers(LOOKING, 2) as lookers:
        assert len(list(lookers.look(candidates(130)))) == 130
        pids = [looker._process.pid for looker in lookers._lookers if looker._process]
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_readers_refuse_keeps_its_place() -> None:
    refused = BadCandidate("bad", InvalidInput("is bad"))
    found: list[Found] = [Candidate("a", png(0)), refused, Candidate("b", png(1), is_ours=True)]
    with Lookers(LOOKING, 1) as lookers:
        seen = list(lookers.look(found))
    assert seen[1] is refused
    assert [each[0].id for each in seen if not isinstance(each, BadCandidate)] == ["a", "b"]
