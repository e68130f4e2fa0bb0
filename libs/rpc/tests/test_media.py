"""Files behind Media messages: inline up to 1 MiB, else out of the store."""

from pathlib import Path

import pytest
from vermeil.content.v1.content_pb2 import Media
from vermeil_artifacts import MemoryStore
from vermeil_errors import InvalidInput, TooLarge
from vermeil_rpc import media as module
from vermeil_rpc.convert import artifact_to_message
from vermeil_rpc.media import MAX_INLINE_BYTES, media_bytes


def test_a_file_is_the_same_inline_and_out_of_the_store(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "cat.png").write_bytes(b"a cat")
    kept = artifact_to_message(store.publish(tmp_path, kind="image"))
    for media in (Media(inline=b"a cat"), Media(artifact=kept, path="cat.png")):
        assert media_bytes(media, store, "image") == b"a cat"
    with pytest.raises(InvalidInput, match=r"dog\.png"):
        media_bytes(Media(artifact=kept, path="dog.png"), store, "image")


def test_more_than_the_limit_is_refused_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    whole = bytes(MAX_INLINE_BYTES)
    assert media_bytes(Media(inline=whole), store, "parts[1].image") == whole
    with pytest.raises(TooLarge, match=r"parts\[1\]\.image: has more than 1,048,576 bytes; send a smaller"):
        media_bytes(Media(inline=whole + b"0"), store, "parts[1].image")
    monkeypatch.setattr(module, "MAX_BYTES", 4)
    (tmp_path / "cat.png").write_bytes(b"a cat")
    kept = artifact_to_message(store.publish(tmp_path, kind="image"))
    with pytest.raises(TooLarge, match="more than 4 bytes"):
        media_bytes(Media(artifact=kept, path="cat.png"), store, "image")


def test_a_message_without_a_file_is_refused() -> None:
    with pytest.raises(InvalidInput, match="holds no picture"):
        media_bytes(Media(), MemoryStore(), "image")
