"""Packed training: attention that keeps the pairs of a pack apart, and the loss of their answers.

Packs of several images are laid end to end in one row WITHOUT padding, so that every linear layer works on real tokens
only; attention alone gathers them into small padded blocks (`Blocks`), whose cost is that of separate pairs. Used by
`train lora`, and by nano's base stage with a projector that trains::

    packs = pack([(ids, labels), ...], image=row, image_token_id=model.config.image_token_id, max_tokens=2048)
    use_packed_attention(model)                                    # once; plain calls and generate() still work
    batch = collate(packs_of_a_micro_batch)
    features = torch.stack([feature_of(image) for image in batch["images"]])       # (images, image tokens, hidden)
    logits, targets = packed_forward(model, batch, image_features=features)        # (answer tokens, vocabulary), same
    loss = answer_loss(logits, targets, tokens=answer_tokens_of_the_whole_step)

`image_features` are what the projector returns; gradients flow into them. Decoders are Qwen2 (every InternVL3) or
Llama; those with sliding windows are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.masking_utils import sdpa_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling

from train.lora.conversations import IGNORE
from train.lora.packs import Pack

PACKED_ATTENTION = "facellm_packed"
# A token's weight, before it is scaled, is the length of its answer to this power.
_POWERS = {"token": 0.0, "root": -0.5, "answer": -1.0}
BUCKETS = 4  # groups of similar length that the pairs of a batch are padded in, for attention only


@dataclass
class Group:
    """Segments of similar length, padded to one: prefixes (`owner` None) or pairs.

    `first`, `count`, `length`: the group's slots are [first, first + count * length) of the gathered order.
    `mask` is additive, (count, 1, length, prefix length + length): 0 to see, -inf not to (prefixes: own tokens only).
    """

    first: int
    count: int
    length: int
    owner: Tensor | None
    mask: Tensor


@dataclass
class Blocks:
    """How a flat row of T tokens is gathered into padded segments and back.

    `take` (slots,) gives each slot's token (0 for padding), `valid` (slots, 1, 1) tells padding, `back` (T,) gives each
    token's slot. `groups[0]` are the prefixes, one an image, the others hold the pairs.
    """

    take: Tensor
    valid: Tensor
    back: Tensor
    groups: list[Group] = field(default_factory=list)

    def to(self, device: torch.device | str) -> Blocks:
        if self.take.device == torch.device(device):
            return self
        groups = [
            Group(g.first, g.count, g.length, None if g.owner is None else g.owner.to(device), g.mask.to(device))
            for g in self.groups
        ]
        return Blocks(self.take.to(device), self.valid.to(device), self.back.to(device), groups)


def blocks(packs: Sequence[Pack], buckets: int = BUCKETS) -> Blocks:
    """The gathering plan of packs laid end to end. Lengths are unequal, so pairs are padded within `buckets` groups."""
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in packs])])
    prefix_lengths = np.array([p.starts[0] for p in packs])
    pairs = [  # (start in the flat row, length, index of its image)
        (offsets[i] + start, end - start, i)
        for i, p in enumerate(packs)
        for start, end in zip(p.starts, (*p.starts[1:], len(p)), strict=True)
    ]
    pairs.sort(key=lambda pair: pair[1])
    wide = int(prefix_lengths.max())
    total = int(offsets[-1])
    plan = [(offsets[:-1], prefix_lengths, None)]
    for part in np.array_split(np.arange(len(pairs)), min(buckets, len(pairs))):
        starts, lengths, owners = (np.array([pairs[i][column] for i in part]) for column in range(3))
        plan.append((starts, lengths, owners))
    take, valid, groups, first = [], [], [], 0
    for starts, lengths, owners in plan:
        length = int(lengths.max())
        places = np.arange(length)
        real = places[None, :] < lengths[:, None]
        take.append(np.where(real, starts[:, None] + places[None, :], 0).ravel())
        valid.append(real.ravel())
        seen = np.broadcast_to(places[:, None] >= places[None, :], (len(starts), length, length))
        if owners is not None:
            before = np.arange(wide)[None, :] < prefix_lengths[owners][:, None]
            before = np.broadcast_to(before[:, None, :], (len(starts), length, wide))
            seen = np.concatenate([before, seen], axis=2)
        mask = torch.zeros(seen.shape, dtype=torch.float32).masked_fill_(torch.from_numpy(~seen), float("-inf"))
        owner = None if owners is None else torch.from_numpy(owners.astype(np.int64))
        groups.append(Group(first, len(starts), length, owner, mask[:, None]))
        first += len(starts) * length
    take, valid = np.concatenate(take), np.concatenate(valid)
    back = np.empty(total, dtype=np.int64)
    back[take[valid]] = np.flatnonzero(valid)
    return Blocks(torch.from_numpy(take), torch.from_numpy(valid)[:, None, None], torch.from_numpy(back), groups)


class _Gather(torch.autograd.Function):
    """Tokens (T, heads, width) to slots. Its gradient is a gather too, several times faster than index_add on a CPU."""

    @staticmethod
    def forward(ctx, x: Tensor, take: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return x.index_select(0, take)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _Scatter(torch.autograd.Function):
    """Slots back to tokens; padding slots get no gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, take: Tensor, back: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(take, valid)
        return x.index_select(0, back)

    @staticmethod
    def backward(ctx, grad: Tensor):
        take, valid = ctx.saved_tensors
        return grad.index_select(0, take).masked_fill_(~valid, 0), None, None, None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """(N, S, heads, D) against (N, K, key heads, D) -> (N, S, heads, D)."""
    n, s, heads, width = query.shape
    shared = heads // key.shape[2]
    if query.device.type != "cpu":
        out = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2).repeat_interleave(shared, 1),
            value.transpose(1, 2).repeat_interleave(shared, 1), mask.to(query.dtype), scale=scaling,
        )  # fmt: skip
        return out.transpose(1, 2)
    # On a CPU the written-out form's backward is several times faster than SDPA's at these lengths (< 300 tokens).
    # Query heads that share a key head are stacked along the queries, so no key is ever repeated.
    query = query.view(n, s, heads // shared, shared, width).permute(0, 2, 3, 1, 4).reshape(n, -1, shared * s, width)
    scores = torch.matmul(query, key.permute(0, 2, 3, 1)) * scaling
    scores = scores.view(n, -1, shared, s, key.shape[1]) + mask[:, None].to(scores.dtype)
    weights = torch.softmax(scores, dim=-1).to(value.dtype).view(n, -1, shared * s, key.shape[1])
    out = torch.matmul(weights, value.transpose(1, 2))
    return out.view(n, -1, shared, s, width).permute(0, 3, 1, 2, 4).reshape(n, s, heads, width)


def packed_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, packed=None, **kwargs):
    """transformers' attention interface: (1, heads, T, D) in, (1, T, heads, D) out. Without `packed`: plain SDPA."""
    if packed is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    flat = [_Gather.apply(x.transpose(1, 2)[0], packed.take, packed.back) for x in (query, key, value)]
    out, before = [], ()
    for group in packed.groups:
        size = group.count * group.length
        q, *own = (x[group.first : group.first + size].unflatten(0, (group.count, group.length)) for x in flat)
        if group.owner is None:
            before = own
            if not group.length:
                continue
        elif before[0].shape[1]:
            own = [torch.cat([p.index_select(0, group.owner), x], 1) for p, x in zip(before, own, strict=True)]
        out.append(_attend(q, *own, group.mask, scaling or query.shape[-1] ** -0.5).flatten(0, 1))
    return _Scatter.apply(torch.cat(out), packed.take, packed.back, packed.valid)[None], None


def use_packed_attention(model: nn.Module) -> None:
    """Lets an InternVL (PEFT-wrapped or not) take packed batches, and give their loss where labels come with them.

    Other calls keep working, through SDPA and the model's usual loss.

    Args:
        model: The model; it is changed in place.

    Raises:
        ValueError: For a decoder with sliding windows.
    """
    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
    AttentionMaskInterface.register(PACKED_ATTENTION, sdpa_mask)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if set(getattr(inner.config.text_config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        raise ValueError("Packed training needs full attention in every layer: train this model with --plain.")
    inner.set_attn_implementation({"text_config": PACKED_ATTENTION})
    inner.loss_function = packed_loss


def collate(packs: Sequence[Pack]) -> dict:
    """Packs end to end: input_ids, labels, position_ids (1, T) int64; `packed` (Blocks); `images` where given."""

    def row(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(p, name) for p in packs]).astype(np.int64))[None]

    return {
        "input_ids": row("input_ids"),
        "labels": row("labels"),
        "position_ids": row("position_ids"),
        "packed": blocks(packs),
        "images": [p.image for p in packs if p.image is not None],
    }


def decoder_inputs(batch: dict) -> dict:
    """Turns a collated batch into keyword arguments of the model, all but its labels and images.

    Args:
        batch: From `collate`, its tensors on the model's device.

    Returns:
        Arguments with which the head runs at answer positions only.
    """
    labels = batch["labels"][0]
    return {
        "input_ids": batch["input_ids"],
        "position_ids": batch["position_ids"],
        # A mask of four dimensions is taken as it is by Qwen2 and by Llama, and packed attention does not read it; its
        # sum is what trainers report as tokens.
        "attention_mask": torch.ones(1, 1, *batch["labels"].shape, dtype=torch.int64, device=labels.device),
        "logits_to_keep": torch.nonzero(labels[1:] != IGNORE)[:, 0],
        "use_cache": False,
        "packed": batch["packed"].to(labels.device),
    }


def packed_forward(
    model: nn.Module, batch: dict, image_features: Tensor | None = None, pixel_values: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (answer tokens, vocabulary) and their targets (answer tokens,) of a collated batch.

    The head runs at answer positions only. Give the images either as projected features (images, image tokens, hidden)
    or as pixels (images, 3, height, width), in the order of `batch["images"]`; neither for text alone.
    """
    given = {}
    if image_features is not None:
        given["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=image_features)}
    elif pixel_values is not None:
        given["pixel_values"] = pixel_values
    return model(**decoder_inputs(batch), **given).logits[0], _targets(batch["labels"])


def _targets(labels: Tensor) -> Tensor:
    """The answer tokens (answer tokens,) of a row's labels (1, T)."""
    return labels[0, 1:][labels[0, 1:] != IGNORE]


def answer_weights(labels: Tensor, weighting: str, mean: float | None = None) -> Tensor | None:
    """Weights (answer tokens,) of a row's answer tokens; None where all weigh the same.

    labels: (1, T).  weighting: "token"; "answer", every answer weighs the same however long, so that an option letter
    is learnt beside descriptions; "root", between the two: an answer weighs as the root of its length.
    mean: `mean_weight` of the training set, which brings the weights to a mean of 1 over the set.  None: that of the
    row, which is then the whole step: parts of a step must not be scaled each by its own.
    """
    if weighting == "token":
        return None
    learnt = labels[0] != IGNORE
    starts = learnt & ~torch.cat([learnt.new_zeros(1), learnt[:-1]])
    answer = (torch.cumsum(starts, 0) - 1)[learnt]  # which answer a learnt token belongs to
    weights = torch.bincount(answer)[answer].float() ** _POWERS[weighting]
    return weights / (weights.mean() if mean is None else mean)


def mean_weight(packs: Sequence[Pack], weighting: str) -> float:
    """Mean over all answer tokens of the packs of what `answer_weights` gives before it is scaled."""
    lengths = []
    for one in packs:
        learnt = np.concatenate([[False], one.labels != IGNORE, [False]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(learnt))  # beginnings and ends of the answers in turn
        lengths.append(edges[1::2] - edges[::2])
    tokens = np.concatenate(lengths).astype(np.float64)  # of each answer
    return float((tokens ** (1 + _POWERS[weighting])).sum() / tokens.sum())


def answer_loss(
    logits: Tensor, targets: Tensor, tokens: int | Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Summed cross-entropy (times `weights`) over `tokens`, the answer tokens of the whole step (None: those given)."""
    if weights is None:
        total = functional.cross_entropy(logits.float(), targets, reduction="sum")
    else:
        total = (functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()
    return total / (len(targets) if tokens is None else tokens)


def packed_loss(
    logits: Tensor, labels: Tensor, vocab_size: int, num_items_in_batch: int | Tensor | None = None,
    packed: Blocks | None = None, **kwargs,
) -> Tensor:  # fmt: skip
    """transformers' loss interface: `answer_loss` of a packed batch. Without `packed`: the usual shifted mean.

    Args:
        logits: (1, answer tokens, vocabulary) of a packed batch.
        labels: (1, T), as collated.
        vocab_size: Unused where the batch is packed.
        num_items_in_batch: The answer tokens of the whole step, as the Trainer counts them.
        packed: The batch's blocks.
        kwargs: What else the forward pass was given.

    Returns:
        The loss, of no dimension.
    """
    if packed is None:
        return ForCausalLMLoss(logits, labels, vocab_size, num_items_in_batch=num_items_in_batch, **kwargs)
    return answer_loss(logits[0], _targets(labels), tokens=num_items_in_batch)
