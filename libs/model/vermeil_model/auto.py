"""Vermeil for Hugging Face transformers: importing this module makes the Auto classes know it.

    import vermeil_model.auto
    model = AutoModelForCausalLM.from_pretrained(folder)

Folders are those of `save_checkpoint`; `save_pretrained` writes the same. The only module that imports
transformers. Its generate runs on transformers' caches; for speed use vermeil_model.generate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    DynamicCache,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast
from vermeil_errors import InvalidInput

from vermeil_model.attention import additive_mask, scaled_dot_product
from vermeil_model.checkpoint import FORMAT_VERSION, MODEL_TYPE
from vermeil_model.config import ModelConfig
from vermeil_model.rotary import Rotary
from vermeil_model.text_model import TextModel

DEFAULT_VOCAB_SIZE = 4096
"""Of a config made without sizes, which transformers does when it compares and prints."""


class VermeilConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """`text` holds the fields of ModelConfig; transformers' usual names can be read from it."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        text: dict[str, Any] | None = None,
        format_version: int = FORMAT_VERSION,
        bos_token_id: int | None = None,
        eos_token_id: int | list[int] | None = None,
        pad_token_id: int | None = None,
        **others: Any,
    ) -> None:
        sizes = ModelConfig.from_dict(text) if text else ModelConfig.from_size("nano", DEFAULT_VOCAB_SIZE)
        self.text = sizes.to_dict()
        self.format_version = format_version
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.pad_token_id = pad_token_id
        others.setdefault("tie_word_embeddings", False)
        super().__init__(**others)

    @property
    def model_config(self) -> ModelConfig:
        """The sizes as the network knows them."""
        return ModelConfig.from_dict(self.text)

    @property
    def vocab_size(self) -> int:
        return self.model_config.vocab_size

    @property
    def hidden_size(self) -> int:
        return self.model_config.width

    @property
    def num_hidden_layers(self) -> int:
        return self.model_config.depth

    @property
    def num_attention_heads(self) -> int:
        return self.model_config.num_heads

    @property
    def num_key_value_heads(self) -> int:
        return self.model_config.num_key_value_heads

    @property
    def head_dim(self) -> int:
        return self.model_config.head_width

    @property
    def max_position_embeddings(self) -> int:
        return self.model_config.context_length


class VermeilForConditionalGeneration(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """The network behind transformers' interface; today it reads and writes text."""

    config_class = VermeilConfig
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012

    def __init__(self, config: VermeilConfig) -> None:
        super().__init__(config)
        self.text = TextModel(config.model_config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and with labels (shifted here) the loss.

        `attention_mask` is (B, S), 0 for padding, or what transformers makes of it, (B, 1, T, S).
        """
        if others.get("inputs_embeds") is not None:
            raise InvalidInput.for_field("inputs_embeds", None, "are not supported", "Give input_ids.")
        if past_key_values is None and use_cache:
            past_key_values = DynamicCache()
        num_past = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        num_tokens = input_ids.shape[1]
        context_length = self.text.config.context_length
        if num_past + num_tokens > context_length:
            raise InvalidInput.for_field(
                "input_ids", num_past + num_tokens, f"exceed the context of {context_length}", "Shorten them."
            )
        slots_T = torch.arange(num_past, num_past + num_tokens, device=input_ids.device)
        attend = _ForeignCacheAttention(past_key_values, slots_T, attention_mask)
        positions = slots_T if position_ids is None else position_ids
        hidden_BTD = self.text.transform(input_ids, positions, attend)
        logits = self.text.readout(hidden_BTD[:, -logits_to_keep:])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def get_input_embeddings(self) -> nn.Module:
        return self.text.embedding

    def get_output_embeddings(self) -> nn.Module | None:
        return self.text.head

    def _init_weights(self, module: nn.Module) -> None:
        """Weights were drawn by TextModel; only the rotary table is lost when memory is set up late."""
        if isinstance(module, Rotary):
            module.reset()


class _ForeignCacheAttention:
    """Attention over one of transformers' caches, blind to padding and to what comes later."""

    def __init__(self, cache: Cache | None, slots_T: Tensor, given_mask: Tensor | None) -> None:
        self._cache = cache
        self._slots_T = slots_T
        self._given_mask = given_mask
        self._mask: Tensor | None = None
        if given_mask is not None and given_mask.ndim not in (2, 4):
            raise InvalidInput.for_field(
                "attention_mask", tuple(given_mask.shape), "has no known shape", "Give (batch, tokens)."
            )

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        if self._cache is not None:
            known = self._cache.update(keys.transpose(1, 2), values.transpose(1, 2), layer)
            keys, values = (tensor.transpose(1, 2) for tensor in known)
        if self._mask is None:
            self._mask = additive_mask(self._visible(keys.shape[1]), queries.dtype)
        return scaled_dot_product(queries, keys, values, self._mask)

    def _visible(self, num_keys: int) -> Tensor:
        """True where query t may see key s; padding sees itself, so that no row is empty."""
        slots_T1 = self._slots_T[:, None]
        keys_S = torch.arange(num_keys, device=slots_T1.device)
        visible = (keys_S <= slots_T1)[None, None]
        given = self._given_mask
        if given is None:
            return visible
        if given.ndim == 2:
            real_BS = torch.zeros(len(given), num_keys, dtype=torch.bool, device=keys_S.device)
            num_given = min(num_keys, given.shape[1])
            real_BS[:, :num_given] = given[:, :num_given].bool()
            visible = visible & real_BS[:, None, None]
        else:
            visible = given if given.dtype == torch.bool else given >= 0
        return visible | (keys_S == slots_T1)


AutoConfig.register(MODEL_TYPE, VermeilConfig, exist_ok=True)
AutoModelForCausalLM.register(VermeilConfig, VermeilForConditionalGeneration, exist_ok=True)
