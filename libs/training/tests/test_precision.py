"""bfloat16 where it is fast, unless a run says otherwise."""

import pytest
import torch
from vermeil_model.bfloat16 import multiplies_bfloat16
from vermeil_training.precision import computes_in_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"bf16": True}, True), ({"avx2": True, "avx512_bf16": False}, False)],
)
def test_auto_asks_the_processor(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    multiplies_bfloat16.cache_clear()
    assert computes_in_bf16("auto", CPU) is expected
    assert computes_in_bf16("bf16", CPU) is True
    assert computes_in_bf16("fp32", CPU) is False
    multiplies_bfloat16.cache_clear()
