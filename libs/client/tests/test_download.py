"""Models and datasets as files here: whole, right, in the folder, and fetched once."""

from pathlib import Path

import httpx
import pytest
from vermeil_client import Vermeil
from vermeil_client.commands import output, run
from vermeil_client.testing import FakeGateway
from vermeil_client.transport import Transport
from vermeil_errors import DataCorrupted, InvalidInput, PermissionDenied, Unavailable, VermeilError


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(output, "Vermeil", lambda url: Vermeil(url or "http://gateway", http=fake))
    return fake


@pytest.fixture
def client(gateway: FakeGateway) -> Vermeil:
    return Vermeil("http://gateway", http=gateway)


def _fetched(gateway: FakeGateway) -> list[str]:
    return [path.partition("/files/")[2] for _, path, _ in gateway.requests if "/files/" in path]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("fake", "models/fake/versions/1"),
        ("fake@2", "models/fake/versions/2"),
        ("models/fake/versions/2", "models/fake/versions/2"),
        ("datasets/fake", "datasets/fake/versions/1"),
        ("datasets/fake/versions/3", "datasets/fake/versions/3"),
    ],
)
def test_every_file_comes_in_its_place(
    client: Vermeil, gateway: FakeGateway, tmp_path: Path, name: str, version: str
) -> None:
    heard: list[tuple[int, int]] = []
    assert client.download(name, tmp_path / "new", lambda *seen: heard.append(seen)) == version
    assert {path: (tmp_path / "new" / path).read_bytes() for path in gateway.files} == gateway.files
    assert len([path for path in (tmp_path / "new").rglob("*") if path.is_file()]) == len(gateway.files)
    assert (heard[0], heard[-1]) == ((0, 3002), (3002, 3002))


def test_what_is_here_already_is_not_fetched_again(
    client: Vermeil, gateway: FakeGateway, tmp_path: Path
) -> None:
    client.download("fake", tmp_path)
    (tmp_path / "config.json").unlink()
    gateway.requests.clear()
    client.download("fake", tmp_path)
    assert _fetched(gateway) == ["config.json"]


def test_another_file_in_the_place_is_kept_and_named(
    client: Vermeil, gateway: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(InvalidInput, match=r"config\.json"):
        client.download("fake", tmp_path)
    assert (tmp_path / "config.json").read_text() == "mine"
    assert _fetched(gateway) == []


def test_what_came_wrong_is_not_kept(
    client: Vermeil, gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.transport, "blocks", lambda path, num_bytes: iter([b"{", b"]"]))
    with pytest.raises(DataCorrupted, match=r"config\.json"):
        client.download("fake", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside", "a\\..\\outside", "."])
def test_no_name_leads_out_of_the_folder(
    client: Vermeil, gateway: FakeGateway, tmp_path: Path, path: str
) -> None:
    gateway.files[path] = b"x"
    with pytest.raises(DataCorrupted, match="outside of the folder"):
        client.download("fake", tmp_path / "new")
    assert list(tmp_path.rglob("*outside*")) == []


def test_the_command_names_the_folder_after_the_model(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["download", "fake@1"]) == 0
    assert (tmp_path / "fake-1" / "config.json").read_bytes() == b"{}"
    assert "models/fake/versions/1 is in fake-1" in capsys.readouterr().out
    assert run(["download", "datasets/fake", "there"]) == 0
    assert (tmp_path / "there" / "weights" / "0.bin").exists()


def test_here_is_a_folder_too(gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["download", "fake@1", "."]) == 0
    assert (tmp_path / "config.json").read_bytes() == b"{}"


@pytest.mark.parametrize("name", ["datasets/versions/3", "fake@new", "models/a/b/versions/1", ""])
def test_what_names_no_version_is_refused_by_what_was_written(
    client: Vermeil, tmp_path: Path, name: str
) -> None:
    with pytest.raises(VermeilError, match=r"name =|nothing at"):
        client.download(name, tmp_path)


def test_a_folder_in_the_place_of_a_file_is_kept_and_named(client: Vermeil, tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InvalidInput, match=r"config\.json"):
        client.download("fake", tmp_path)


class Elsewhere(httpx.BaseTransport):
    """A gateway whose files are on another host, which answers with a status."""

    def __init__(self, gateway: FakeGateway, status: int = 200) -> None:
        self.gateway = gateway
        self.status = status
        self.heard: list[tuple[str, str | None]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Each host is told who asks it, or not."""
        self.heard.append((request.url.host, request.headers.get("authorization")))
        _, _, path = request.url.path.partition("/files/")
        if request.url.host == "gateway" and not path:
            return self.gateway.handle_request(request)
        if request.url.host == "gateway":
            return httpx.Response(307, headers={"location": f"https://s3.example/files/{path}?signature=x"})
        return httpx.Response(self.status, content=self.gateway.files[path])


def test_files_that_are_elsewhere_are_fetched_there_without_the_key(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    elsewhere = Elsewhere(gateway)
    with Vermeil("http://gateway", api_key="ours", http=elsewhere) as client:
        client.download("fake", tmp_path)
        assert client.transport.read("/v1/x/files/config.json") == gateway.files["config.json"]
    assert {path: (tmp_path / path).read_bytes() for path in gateway.files} == gateway.files
    assert set(elsewhere.heard) == {("gateway", "Bearer ours"), ("s3.example", None)}


def test_what_another_host_sends_is_held_to_its_hash(gateway: FakeGateway, tmp_path: Path) -> None:
    with Vermeil("http://gateway", http=Elsewhere(gateway)) as client:
        files = dict(gateway.files)
        listed = client.transport.get("/v1/model-versions/fake/1/files")
        gateway.files["config.json"] = b"[]"
        client.transport.get = lambda path, **_: listed  # type: ignore[method-assign]
        with pytest.raises(DataCorrupted, match=r"config\.json"):
            client.download("models/fake/versions/1", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert files != gateway.files


def test_a_refusal_elsewhere_names_the_host_and_keeps_the_link(gateway: FakeGateway, tmp_path: Path) -> None:
    with (
        Vermeil("http://gateway", http=Elsewhere(gateway, 403)) as client,
        pytest.raises(PermissionDenied, match=r"https://s3\.example answered 403") as caught,
    ):
        client.download("fake", tmp_path)
    assert "signature" not in str(caught.value)


@pytest.mark.parametrize("place", ["https://s3.example/x?signature=x", "/v1/file"])
def test_a_place_that_cannot_be_reached_is_named(place: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "gateway":
            return httpx.Response(307, headers={"location": place})
        raise httpx.ConnectError("refused")

    named = "s3.example .*PUBLIC_ENDPOINT" if "s3" in place else "no answer from http://gateway"
    with Transport("http://gateway", http=httpx.MockTransport(answer)) as transport:
        for ask in (transport.read, lambda path: list(transport.blocks(path, 1))):
            with pytest.raises(Unavailable, match=named) as caught:
                ask("/v1/file")
            assert "signature" not in str(caught.value)


def test_a_file_may_take_minutes_to_come_to_the_gateway_itself(client: Vermeil, tmp_path: Path) -> None:
    waited: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        waited.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, content=b"x")

    with Transport("http://gateway", http=httpx.MockTransport(answer)) as transport:
        assert list(transport.blocks("/v1/file", 1)) == [b"x"]
    assert waited == [600]
