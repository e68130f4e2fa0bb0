"""TLS between services: who gets in, who does not and is told why, and certificates that are replaced."""

import asyncio
import runpy
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_errors import InvalidInput, Unavailable
from vermeil_rpc import Service, connect, connect_async, probe
from vermeil_rpc.testing import local_settings, running
from vermeil_rpc.tls import Credentials
from vermeil_settings import CommonSettings, Tls
from vermeil_testing import Authority

Make = Callable[..., Service]
OnLoop = Callable[[Coroutine[Any, Any, Any]], Any]


def _issue(
    authority: Authority,
    name: str = "service",
    *,
    lasts: timedelta = timedelta(hours=1),
    mutual: bool = True,
) -> Tls:
    return Tls(*authority.issue(name, lasts=lasts), mutual)


def _with(tls: Tls) -> CommonSettings:
    return local_settings(
        tls_ca=tls.ca, tls_certificate=tls.certificate, tls_key=tls.key, tls_mutual=tls.mutual
    )


def _call(address: str, tls: Tls | None) -> None:
    with connect(address, tls=tls) as channel:
        EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=60)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_services_of_one_authority_reach_each_other(encoder: Make, authority: Authority) -> None:
    with running([encoder()], settings=_with(_issue(authority))) as server:
        _call(server.address, _issue(authority, "caller"))


def test_streams_and_event_loops_speak_tls_too(
    generator: Make, authority: Authority, on_loop: OnLoop
) -> None:
    async def three(_request: GenerateRequest, _context: Any) -> AsyncIterator[GenerateResponse]:
        for _ in range(3):
            yield GenerateResponse()

    tls = _issue(authority)

    async def scenario() -> int:
        async with (
            running([generator(three)], settings=_with(tls)) as server,
            connect_async(server.address, tls=tls) as channel,
        ):
            answers = GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=60)
            return len([each async for each in answers])

    assert on_loop(scenario()) == 3


def test_a_caller_without_a_certificate_stays_outside_unless_the_setting_lets_it_in(
    encoder: Make, authority: Authority
) -> None:
    only_ca = Tls(authority.ca, mutual=False)
    with (
        running([encoder()], settings=_with(_issue(authority))) as server,
        pytest.raises(Unavailable, match="VERMEIL_TLS_"),
    ):
        _call(server.address, only_ca)
    with running([encoder()], settings=_with(_issue(authority, mutual=False))) as server:
        _call(server.address, only_ca)


def test_a_caller_of_another_authority_and_a_plain_one_are_told_which_variables_to_look_at(
    encoder: Make, authority: Authority, tmp_path: Path
) -> None:
    stranger = _issue(Authority(tmp_path / "elsewhere", "elsewhere"))
    with running([encoder()], settings=_with(_issue(authority))) as server:
        with pytest.raises(Unavailable, match="VERMEIL_TLS_CA"):
            _call(server.address, stranger)
        with pytest.raises(Unavailable, match="VERMEIL_TLS_CA"):
            _call(server.address, None)


def test_a_certificate_for_another_name_is_refused(encoder: Make, authority: Authority) -> None:
    tls = _issue(authority)
    with (
        running([encoder()], bind="127.0.0.2:0", settings=_with(tls)) as server,
        pytest.raises(Unavailable, match=r"VERMEIL_TLS_CERTIFICATE has to be signed .* for this address"),
    ):
        _call(server.address, tls)


def test_a_server_that_speaks_plainly_is_told_apart(encoder: Make, authority: Authority) -> None:
    with running([encoder()]) as server, pytest.raises(Unavailable, match="VERMEIL_TLS_CA"):
        _call(server.address, _issue(authority))


def test_an_ended_certificate_is_refused_at_the_start_by_name(encoder: Make, authority: Authority) -> None:
    ended = _issue(authority, lasts=timedelta(hours=-1))
    with (
        pytest.raises(InvalidInput, match=r"VERMEIL_TLS_CERTIFICATE.*has expired"),
        running([encoder()], settings=_with(ended)),
    ):
        raise AssertionError("it started")
    with pytest.raises(InvalidInput, match=r"VERMEIL_TLS_CERTIFICATE.*has expired"):
        connect("127.0.0.1:1", tls=ended)


def test_files_that_do_not_belong_together_are_named(authority: Authority, tmp_path: Path) -> None:
    good, other = _issue(authority), _issue(authority, "other")
    stranger = Authority(tmp_path / "elsewhere", "elsewhere")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    wrong = {
        "VERMEIL_TLS_KEY.*is not the key of": replace(good, key=other.key),
        "VERMEIL_TLS_CERTIFICATE.*is refused by VERMEIL_TLS_CA": replace(good, ca=stranger.ca),
        "VERMEIL_TLS_CA.*holds no certificate": replace(good, ca=nonsense),
        "VERMEIL_TLS_CERTIFICATE.*is not PEM": replace(good, certificate=nonsense),
        "VERMEIL_TLS_KEY.*is not PEM": replace(good, key=nonsense),
        "VERMEIL_TLS_KEY.*No such file": replace(good, key=tmp_path / "absent"),
    }
    for message, tls in wrong.items():
        with pytest.raises(InvalidInput, match=message):
            Credentials(tls)


def test_replaced_certificates_are_taken_up_by_both_ends_without_a_restart(
    encoder: Make, authority: Authority, tmp_path: Path
) -> None:
    server_files, caller_files = _issue(authority, "server"), _issue(authority, "caller")
    with (
        running([encoder()], settings=_with(server_files)) as server,
        connect(server.address, tls=caller_files) as channel,
    ):
        stub = EncoderServiceStub(channel)
        stub.Encode(EncodeRequest(), timeout=60)
        # Another authority over the same files: only who takes all of it up still gets in.
        renewed = Authority(tmp_path, "next")
        _issue(renewed, "server")
        _issue(renewed, "caller")
        stub.Encode(EncodeRequest(), timeout=60)
        stub.Encode.future(EncodeRequest(), timeout=60).result()
        _call(server.address, caller_files)


def test_a_replacement_that_is_broken_leaves_the_one_before_in_use(
    encoder: Make, authority: Authority
) -> None:
    files = _issue(authority)
    assert files.key is not None
    with running([encoder()], settings=_with(files)) as server:
        caller = _issue(authority, "caller")
        whole = files.key.read_bytes()
        files.key.write_text("half of a k")
        _call(server.address, caller)
        files.key.write_bytes(whole)
        _call(server.address, caller)


def test_an_event_loop_takes_up_replaced_certificates(
    encoder: Make, authority: Authority, tmp_path: Path, on_loop: OnLoop
) -> None:
    files = _issue(authority)

    async def scenario() -> None:
        async with (
            running([encoder()], settings=_with(files)) as server,
            connect_async(server.address, tls=files) as channel,
        ):
            stub = EncoderServiceStub(channel)
            await stub.Encode(EncodeRequest(), timeout=60)
            _issue(Authority(tmp_path, "next"))
            await asyncio.gather(*(stub.Encode(EncodeRequest(), timeout=60) for _ in range(3)))

    on_loop(scenario())


def test_sockets_of_this_machine_stay_plain(encoder: Make, authority: Authority, tmp_path: Path) -> None:
    tls = _issue(authority)
    with running([encoder()], bind=f"unix:{tmp_path}/s", settings=_with(tls)) as server:
        _call(server.address, tls)
        _call(server.address, None)


def test_the_probe_speaks_tls_by_the_same_variables(
    encoder: Make, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def environment(**named: Path) -> None:
        for name in ("CA", "CERTIFICATE", "KEY"):
            monkeypatch.setenv(f"VERMEIL_TLS_{name}", str(named.get(name, "")))

    def exit_code() -> object:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(probe.__file__, run_name="__main__")
        return ended.value.code

    monkeypatch.setattr(probe, "WITHIN", 60.0)
    ca, certificate, key = authority.issue()
    with running([encoder()], bind="0.0.0.0:0", settings=_with(Tls(ca, certificate, key))) as server:
        monkeypatch.setenv("VERMEIL_BIND", f"0.0.0.0:{server.server.port}")
        environment(CA=ca, CERTIFICATE=certificate, KEY=key)
        assert probe.main([]) == 0
        environment()
        address = f"127.0.0.1:{server.server.port}"
        assert probe.main([address]) == 1
        assert "VERMEIL_TLS_CA" in capsys.readouterr().err
        monkeypatch.setattr(sys, "argv", ["probe", address])
        assert exit_code() == 1
        environment(CA=ca, KEY=key)
        assert "VERMEIL_TLS_CERTIFICATE: is needed" in str(exit_code())
