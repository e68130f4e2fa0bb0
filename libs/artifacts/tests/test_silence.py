"""A server that takes connections and says nothing: every operation gives it up after three tries."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from minio import Minio
from urllib3 import HTTPConnectionPool, Timeout
from vermeil_artifacts import s3_remote
from vermeil_artifacts.s3_remote import Remote, connect
from vermeil_errors import Unavailable

SILENCE_SECONDS = 1.0
PATIENCE = 60.0
"""Seconds, where an answer will come."""
_REGION = b"<LocationConstraint>us-east-1</LocationConstraint>"


def remote(address: str, silence: float = SILENCE_SECONDS) -> Remote:
    return Remote(connect(address, "key", "secret", secure=False, silence=silence), "bucket", "house")


class Crowded(ThreadingHTTPServer):
    """Takes as many connections as come at once, however long it stands still."""

    request_queue_size = 128


@contextmanager
def silent_server() -> Iterator[tuple[str, "Counter[str]"]]:
    """Says nothing at all.

    Gives its address, and how often each operation was asked for: "PUT part", "HEAD small".
    """
    over, seen, counting = threading.Event(), Counter[str](), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            part = "part" if "partNumber" in url.query else url.path.rpartition("/")[2]
            with counting:
                seen[f"{self.command} {part}"] += 1
            over.wait()

        do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names of the base class

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

        def finish(self) -> None:
            """Whoever it was has hung up."""

    server = Crowded(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", seen
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_operation_gives_up_a_server_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_remote, "PART_BYTES", 5 * 2**20)
    # What has to be known first; were it asked for, it would have to be answered in time.
    monkeypatch.setattr(Minio, "_get_region", lambda *_: "us-east-1")
    monkeypatch.setattr(Minio, "_list_multipart_uploads", lambda *_, **__: SimpleNamespace(uploads=[]))
    monkeypatch.setattr(Minio, "_create_multipart_upload", lambda *_: "u1")
    large = tmp_path / "large"
    large.write_bytes(bytes(11 * 2**20))
    operations: dict[str, Callable[[Remote], object]] = {
        "PUT small": lambda it: it.put_bytes("small", b"x"),
        "PUT part": lambda it: it.put_file("large", large, large.stat().st_size),
        "GET small": lambda it: it.read("small"),
        "GET streamed": lambda it: list(it.chunks("streamed", 10)),
        "HEAD small": lambda it: it.stat("small"),
        "HEAD copy": lambda it: it.touch("copy"),
        "GET bucket": lambda it: list(it.list("blobs/")),
        "POST bucket": lambda it: it.remove(["small"]),
    }

    def give_up(operation: Callable[[Remote], object]) -> None:
        with pytest.raises(Unavailable, match="check VERMEIL_S3_ENDPOINT"):
            operation(remote(address))

    with silent_server() as (address, seen), ThreadPoolExecutor(len(operations)) as pool:
        list(pool.map(give_up, operations.values()))
        times = dict.fromkeys(operations, 3) | {"POST bucket": 1}  # which HTTP does not call a repetition
        end = time.monotonic() + PATIENCE
        while any(seen[name] < number for name, number in times.items()) and time.monotonic() < end:
            time.sleep(0.01)  # what was given up may be waiting to be read
    parts = seen.pop("PUT part")
    assert seen == {name: number for name, number in times.items() if name != "PUT part"}
    assert 3 <= parts <= 3 * 3, "three parts at once"
    assert seen["DELETE large"] == 0, "what came of it stays, to be gone on with"


def test_a_server_that_never_even_reads_is_given_up_when_the_store_is_opened() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        pytest.raises(Unavailable, match=r"looking for the bucket failed.*timed out"),
    ):
        remote(f"127.0.0.1:{deaf.getsockname()[1]}").probe()


def test_after_a_silence_no_connection_from_before_it_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that was away leaves connections on which nothing ever comes; each would be waited for."""
    hang_up = s3_remote._hang_up

    def hang_up_and_have_patience(pool: HTTPConnectionPool) -> None:
        hang_up(pool)
        pool.timeout = Timeout(PATIENCE)

    monkeypatch.setattr(s3_remote, "_hang_up", hang_up_and_have_patience)
    together, is_away, over = threading.Barrier(4), threading.Event(), threading.Event()
    hung_up = threading.Semaphore(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.is_old = not is_away.is_set()

        def do_GET(self) -> None:
            body = _REGION if urlsplit(self.path).query == "location=" else b"x"
            if is_away.is_set() and self.is_old:
                over.wait()
                return
            if body == b"x" and self.is_old:
                together.wait(60)  # so that each has a connection of its own
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

        def finish(self) -> None:
            """Whoever it was has hung up."""
            hung_up.release()

    server = Crowded(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        store = remote(f"127.0.0.1:{server.server_port}", PATIENCE)
        with ThreadPoolExecutor(together.parties) as pool:
            assert list(pool.map(store.read, "abcd")) == [b"x"] * together.parties
        is_away.set()
        connections = store._client._http.connection_from_host("127.0.0.1", server.server_port, "http")
        connections.timeout = Timeout(SILENCE_SECONDS)
        assert store.read("e") == b"x", "one silence, then anew"
        for _ in range(together.parties - 1):
            assert hung_up.acquire(timeout=PATIENCE), "an idle connection from before the silence is kept"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
