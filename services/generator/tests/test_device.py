"""Which precision a model is served in."""

from collections.abc import Iterator

import pytest
import torch
from vermeil_generator.device import precision
from vermeil_generator.settings import GeneratorSettings
from vermeil_model.bfloat16 import multiplies_bfloat16


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bool]]:
    """What the CPU says it can; to be filled."""
    capabilities: dict[str, bool] = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    multiplies_bfloat16.cache_clear()
    yield capabilities
    multiplies_bfloat16.cache_clear()


def settings(wanted: str) -> GeneratorSettings:
    return GeneratorSettings.model_validate({"generator_device": "cpu", "generator_precision": wanted})


def test_a_processor_with_bfloat16_serves_weights_as_they_are(processor: dict[str, bool]) -> None:
    processor["avx512_bf16"] = True
    assert precision(settings("auto")) is None


def test_a_processor_that_emulates_bfloat16_serves_in_float32(processor: dict[str, bool]) -> None:
    processor["avx2"] = True
    assert precision(settings("auto")) is torch.float32


@pytest.mark.parametrize(("wanted", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_what_is_asked_for_is_taken(processor: dict[str, bool], wanted: str, dtype: torch.dtype) -> None:
    processor["avx2"] = True
    assert precision(settings(wanted)) is dtype
