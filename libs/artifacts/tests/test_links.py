"""Links to files on S3: for whom, for how long, and at which address."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from vermeil_artifacts import ArtifactStore
from vermeil_errors import InvalidInput
from vermeil_testing import ceph

OpenS3 = Callable[..., ArtifactStore]


def status_of(link: str | None) -> int:
    return urllib3.request("GET", str(link)).status


def test_a_link_is_no_key_to_anything_else_and_ends(
    open_s3: OpenS3, s3_server: Any, model_folder: Path
) -> None:
    if s3_server.endpoint != ceph().address:
        pytest.skip("moto lets everybody in")
    store = open_s3()
    ref = store.publish(model_folder, kind="model")
    here, there = (entry.sha256 for entry in store.manifest(ref.digest).files[:2])
    link = str(store.link(ref.digest, store.manifest(ref.digest).files[0].path, seconds=600))
    changed = [
        link.replace(here, there),
        link.replace("X-Amz-Expires=600", "X-Amz-Expires=6000"),
        link.partition("?")[0],
    ]
    assert [status_of(each) for each in [link, *changed]] == [200, 403, 403, 403]
    short, end = store.link(ref.digest, "config.json", seconds=1), time.monotonic() + 60
    while status_of(short) == 200 and time.monotonic() < end:
        time.sleep(0.2)
    assert status_of(short) == 403


def test_a_link_names_the_public_address_which_the_store_itself_need_not_reach(
    open_s3: OpenS3, model_folder: Path
) -> None:
    store = open_s3(public_endpoint="https://files.example.invalid")
    ref = store.publish(model_folder, kind="model")
    link = store.link(ref.digest, "config.json", seconds=60)
    assert str(link).startswith("https://files.example.invalid/vermeil-tests/")


def test_a_store_without_a_public_address_gives_no_links(open_s3: OpenS3, model_folder: Path) -> None:
    store = open_s3(public_endpoint="")
    ref = store.publish(model_folder, kind="model")
    assert store.link(ref.digest, "config.json", seconds=60) is None


@pytest.mark.parametrize(
    "address", ["files.example.org:9000", "https://files.example.org/s3", "https://:9000"]
)
def test_a_public_address_that_is_none_is_refused_by_its_setting(open_s3: OpenS3, address: str) -> None:
    with pytest.raises(InvalidInput, match=r"VERMEIL_S3_PUBLIC_ENDPOINT.*write https://host"):
        open_s3(public_endpoint=address)
