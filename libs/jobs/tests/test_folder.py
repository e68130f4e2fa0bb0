"""The broker without a server loses, doubles and tears no message."""

import threading
import time
from pathlib import Path

import pytest
from kombu import Connection, Queue
from vermeil_jobs.app import make_app
from vermeil_jobs.folder import _HALF_WRITTEN_SECONDS, Transport


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    return Connection(transport=Transport, transport_options={"folder": str(tmp_path)})


def test_messages_come_in_the_order_they_were_sent(connection: Connection) -> None:
    queue = connection.SimpleQueue("tester")
    for number in range(5):
        queue.put({"number": number})
    assert [queue.get(timeout=30).payload["number"] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_queue_gets_only_its_own_messages(connection: Connection) -> None:
    connection.SimpleQueue("trainer").put("mine")
    other = connection.SimpleQueue("tester")
    with pytest.raises(other.Empty):
        other.get(timeout=0.05)
    assert connection.SimpleQueue("trainer").get(timeout=30).payload == "mine"


def test_messages_outlive_the_process_that_sent_them(connection: Connection, tmp_path: Path) -> None:
    connection.SimpleQueue("tester").put("kept")
    connection.release()
    with Connection(transport=Transport, transport_options={"folder": str(tmp_path)}) as later:
        assert later.SimpleQueue("tester").get(timeout=30).payload == "kept"


def test_many_readers_and_writers_share_each_message_out_once(tmp_path: Path) -> None:
    num_messages, seen, lock = 400, [], threading.Lock()

    def connect() -> Connection:
        return Connection(transport=Transport, transport_options={"folder": str(tmp_path)})

    def write(start: int) -> None:
        with connect() as connection:
            queue = connection.SimpleQueue("tester")
            for number in range(start, num_messages, 2):
                queue.put(number)

    def read() -> None:
        with connect() as connection:
            queue = connection.SimpleQueue("tester")
            while len(seen) < num_messages:
                try:
                    message = queue.get(block=False)
                except queue.Empty:
                    time.sleep(0.001)
                    continue
                with lock:
                    seen.append(message.payload)
                message.ack()

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 1)]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert sorted(seen) == list(range(num_messages))


def test_a_half_written_message_is_left_until_it_is_whole(connection: Connection, tmp_path: Path) -> None:
    queue = connection.SimpleQueue("tester")
    queue.put("whole")
    (path,) = tmp_path.glob("*.msg")
    content = path.read_bytes()
    path.write_bytes(content[:20])
    with pytest.raises(queue.Empty):
        queue.get(timeout=0.05)
    path.write_bytes(content)
    assert queue.get(timeout=30).payload == "whole"


def test_a_broken_message_is_set_aside_and_stops_nobody(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "00-broken.tester.msg").write_bytes(b"")
    now = time.time() + _HALF_WRITTEN_SECONDS + 1
    monkeypatch.setattr("vermeil_jobs.folder.time.time", lambda: now)
    queue = connection.SimpleQueue("tester")
    queue.put("whole")
    assert queue.get(timeout=30).payload == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["00-broken.tester.broken"]


def test_what_is_not_acknowledged_comes_again_when_the_reader_closes(connection: Connection) -> None:
    queue = connection.SimpleQueue("tester")
    queue.put("once more")
    queue.get(timeout=30)
    queue.close()
    connection.release()
    with connection.clone() as later:
        assert later.SimpleQueue("tester").get(timeout=30).payload == "once more"


def test_an_application_sends_through_the_folder(tmp_path: Path) -> None:
    app = make_app("filesystem://", tmp_path)
    app.send_task("vermeil.tester.v1.test", args=[{"job": "jobs/x"}], queue="tester")
    with app.connection() as connection:
        bound = Queue("tester")(connection.default_channel)
        message = bound.get()
        assert message is not None
        assert message.headers["task"] == "vermeil.tester.v1.test"
        assert message.content_type == "application/json"
