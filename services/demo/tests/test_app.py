"""The page over HTTP: who may open it, and that it asks nobody else for anything."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from vermeil_demo.app import create_app, create_page
from vermeil_demo.clients import Gateway
from vermeil_demo.fakes import FakeVermeil
from vermeil_demo.settings import DemoSettings
from vermeil_demo.wiring import start
from vermeil_errors import Conflict, InvalidInput


def _made(settings: DemoSettings, gateway: Gateway) -> FastAPI:
    """In a running event loop, for which Gradio makes its locks."""

    async def made() -> FastAPI:
        return create_app(settings, gateway)

    return asyncio.run(made())


@pytest.fixture(scope="module")
def page() -> Iterator[TestClient]:
    with TestClient(
        _made(DemoSettings(), Gateway.on(FakeVermeil(), FakeVermeil())), base_url="http://127.0.0.1"
    ) as client:
        yield client


def test_the_page_is_there(page: TestClient) -> None:
    assert page.get("/").status_code == 200
    labels = page.get("/config").text
    for tab in ("Chat", "Studio", "See", "Search", "Training", "Models", "Reports"):
        assert f'"label":"{tab}"' in labels


def test_styles_name_no_other_host(page: TestClient) -> None:
    theme = page.get("/theme.css").text
    assert "--primary-600" in theme
    for css in (theme, page.get("/config").json()["css"]):
        assert "@import" not in css
        assert "url(http" not in css.replace('"', "").replace("'", "")


def test_a_page_of_the_web_that_calls_itself_local_is_not_let_in(page: TestClient) -> None:
    assert page.get("/", headers={"host": "evil.example"}).status_code == 400


def test_it_opens_to_a_network_only_with_a_password() -> None:
    with pytest.raises(InvalidInput, match="VERMEIL_DEMO_PASSWORD"):
        DemoSettings(demo_bind="0.0.0.0:7860").require_password_outside()
    DemoSettings(demo_bind="0.0.0.0:7860", demo_password="secret").require_password_outside()
    DemoSettings(demo_bind="[::1]:7860").require_password_outside()


def test_with_a_password_nobody_sees_anything_before_signing_in(gateway: Gateway) -> None:
    settings = DemoSettings(demo_bind="0.0.0.0:7860", demo_password="secret")
    with TestClient(_made(settings, gateway)) as client:
        assert client.get("/").is_success, "the page to sign in, which health checks ask for"
        assert client.get("/config").status_code == 401
        wrong = client.post("/login", data={"username": "vermeil", "password": "guess"})
        assert wrong.status_code == 400
        assert client.post("/login", data={"username": "vermeil", "password": "secret"}).is_success
        assert client.get("/config").is_success


def test_a_port_in_use_is_said_before_anything_heavy_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Conflict, match="VERMEIL_DEMO_BIND"):
            asyncio.run(start(DemoSettings(demo_bind=bind)))


def test_neither_torch_nor_any_service_is_loaded() -> None:
    program = "import sys, vermeil_demo.app; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "gradio" in loaded
    assert not loaded & {"torch", "transformers", "grpc", "vermeil_gateway", "vermeil_model"}


def test_gradio_looks_for_something_to_do_less_often_than_by_itself(gateway: Gateway) -> None:
    """By a field that is not public: a Gradio without it fails here."""

    async def pauses() -> tuple[float, float]:
        pages = create_page(gateway), gr.Blocks().queue()
        ours, theirs = (float(page._queue.sleep_when_free) for page in pages)
        return ours, theirs

    ours, theirs = asyncio.run(pauses())
    assert ours > theirs


def test_every_example_is_named_for_what_it_shows() -> None:
    from vermeil_demo.examples import EXAMPLES, words_of

    assert len(EXAMPLES) >= 5
    assert words_of(str(Path("x") / "a-red-circle.png")) == "a red circle"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://[", "https://vermeil.example.org.evil.example"]
)
def test_a_page_of_another_origin_does_nothing_in_the_name_of_who_is_signed_in(
    gateway: Gateway, origin: str
) -> None:
    settings = DemoSettings(demo_bind="0.0.0.0:7860", demo_password="secret")
    with TestClient(_made(settings, gateway), base_url="https://vermeil.example.org") as client:
        client.post("/login", data={"username": "vermeil", "password": "secret"})
        assert client.get("/config").is_success
        for answer in (
            client.get("/config", headers={"origin": origin}),
            client.post("/gradio_api/queue/join", headers={"origin": origin}, json={}),
            client.options(
                "/gradio_api/queue/join",
                headers={"origin": origin, "access-control-request-method": "POST"},
            ),
        ):
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        for own in (
            {"origin": "https://vermeil.example.org"},
            {"host": "inside", "x-forwarded-host": "a.b", "origin": "https://a.b"},
        ):
            assert client.get("/config", headers=own).is_success


def test_no_page_of_others_has_it_in_a_frame(page: TestClient) -> None:
    assert page.get("/").headers["content-security-policy"] == "frame-ancestors 'self'"
