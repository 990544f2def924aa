"""One set of weights as the engine uses it: embeddings, one forward pass of the decoder, and the image encoder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache

from facellm.weights.adapter_switch import AdapterSwitch

if TYPE_CHECKING:
    from facellm.weights.load import LoadedModel


@dataclass(frozen=True)
class Network:
    """One set of weights.

    Attributes:
        model: An InternVLForConditionalGeneration, with LoRA layers inside where there is a switch.
        name: Tells apart what must not share keys and values.
        switch: Turns the adapter on and off for each row; None without an adapter.
    """

    model: Any
    name: str
    switch: AdapterSwitch | None = None

    @cached_property
    def _cache_name(self) -> str:
        """What the decoder calls its KV cache: "cache" since transformers 5.24, "past_key_values" before."""
        known = inspect.signature(type(self.model.model.language_model).forward).parameters
        return "cache" if "cache" in known else "past_key_values"

    @property
    def device(self) -> torch.device:
        return self.model.lm_head.weight.device

    @property
    def layers(self) -> int:
        return self.model.config.text_config.num_hidden_layers

    @property
    def image_token(self) -> int:
        """The placeholder's id."""
        return self.model.config.image_token_id

    @property
    def vocabulary(self) -> int:
        """How many logits a token has; may be more than the tokenizer has tokens."""
        return self.model.config.text_config.vocab_size

    @property
    def max_positions(self) -> int:
        return self.model.config.text_config.max_position_embeddings

    @property
    def token_bytes(self) -> int:
        """Bytes that one token of one row takes in the KV cache: keys and values in every layer."""
        text = self.model.config.text_config
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return 2 * self.layers * text.num_key_value_heads * size * self.model.lm_head.weight.element_size()

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Runs encoder and projector: pixels (tiles, 3, side, side) to features (tiles, image tokens, hidden)."""
        return self.model.get_image_features(pixels.to(self.device), return_dict=True).pooler_output

    def embed(self, ids: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds token ids.

        Args:
            ids: (rows, tokens).
            features: What takes the placeholders' places, in their order, (placeholders, hidden).

        Returns:
            (rows, tokens, hidden).
        """
        embeddings = self.model.model.language_model.embed_tokens(ids)
        if features is not None:
            embeddings = embeddings.masked_scatter(
                (ids == self.image_token).unsqueeze(-1), features.to(embeddings.dtype)
            )
        return embeddings

    def forward(
        self,
        embeddings: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        cache: Cache,
        adapter: Sequence[bool],
    ) -> torch.Tensor:
        """Runs the decoder once.

        Args:
            embeddings: (rows, tokens, hidden).
            mask: (rows, 1, tokens, cached + tokens) bool, True where a query may look.
            positions: (rows, tokens). Without them transformers counts over the padding and is silently wrong.
            cache: Holds the cached keys and values, and takes the new ones.
            adapter: For each row, whether the adapter applies.

        Returns:
            The last hidden states, (rows, tokens, hidden).
        """
        with nullcontext() if self.switch is None else self.switch.rows(adapter, self.device):
            output = self.model.model.language_model(
                inputs_embeds=embeddings,
                attention_mask=mask,
                position_ids=positions,
                use_cache=True,
                **{self._cache_name: cache},
            )
        return output.last_hidden_state


def networks_of(loaded: LoadedModel) -> dict[str, Network]:
    """Returns the network of each variant: one and the same where FaceLLM is an adapter on the base."""
    if loaded.switch is not None:
        network = Network(loaded.model.get_base_model(), "shared", loaded.switch)
        return dict.fromkeys(loaded.variants, network)
    networks = {loaded.variants[0]: Network(loaded.model, loaded.variants[0])}
    if loaded.merged is not None:
        networks["facellm"] = Network(loaded.merged, "facellm")
    return networks


def eos_ids(loaded: LoadedModel) -> frozenset[int]:
    """Returns the ids of the EOS tokens, which end an answer: the generation configs' and the tokenizer's."""
    found = {loaded.processor.tokenizer.eos_token_id}
    for model in (loaded.model, loaded.merged):
        if model is not None:
            ids = model.generation_config.eos_token_id
            found.update(ids if isinstance(ids, list) else [ids])
    return frozenset(i for i in found if i is not None)
