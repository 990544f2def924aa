"""Packed training equals plain training: layout, loss, gradients, on a tiny InternVL in float32 (about 10 s)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.tiny import make_tiny_internvl
from train.lora.conversations import IGNORE
from train.lora.packed_attention import (
    answer_loss,
    answer_weights,
    blocks,
    collate,
    mean_weight,
    packed_forward,
    use_packed_attention,
)
from train.lora.packs import pack

IMAGE_TOKENS = 4


def block_mask(packs: list) -> torch.Tensor:
    """What `Blocks` computes, as one boolean mask (1, 1, T, T), True to see."""
    spans = [np.full(len(p), -1) for p in packs]
    for span, p in zip(spans, packs, strict=True):
        for number, start in enumerate(p.starts):
            span[start:] = number
    pair = np.concatenate(spans)
    image = np.repeat(np.arange(len(packs)), [len(p) for p in packs])
    place = np.arange(len(pair))
    seen = (image[:, None] == image) & (place[:, None] >= place) & ((pair == -1) | (pair[:, None] == pair))
    return torch.from_numpy(seen)[None, None]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(make_tiny_internvl(tmp_path_factory.mktemp("tiny")))
    return model.train()


def conversations(model, random: np.random.Generator, count: int, turns: int = 1, image: bool = True):
    """Random rows that share a prefix, then a question and an answer of random lengths (and a second turn)."""
    token = model.config.image_token_id
    head = [8, 9, 10, *([token] * IMAGE_TOKENS if image else []), 11]
    rows = []
    for _ in range(count):
        ids, labels = [*head], [IGNORE] * len(head)
        for _ in range(turns):
            question, answer = (random.integers(20, 200, random.integers(low, 12)).tolist() for low in (2, 1))
            ids += question + answer
            labels += [IGNORE] * len(question) + answer
        rows.append((ids, labels))
    return rows


def plain_loss(model, rows, features):
    """Every conversation alone, through the model's stock attention; the sum over answer tokens."""
    total = torch.zeros(())
    for (ids, labels), feature in zip(rows, features, strict=True):
        embeds = model.get_input_embeddings()(torch.tensor([ids]))
        places = torch.tensor([ids]) == model.config.image_token_id
        if feature is not None:
            embeds = embeds.masked_scatter(places[..., None], feature)
        logits = model(inputs_embeds=embeds, use_cache=False).logits[0]
        total = total + functional.cross_entropy(
            logits[:-1], torch.tensor(labels[1:]), ignore_index=IGNORE, reduction="sum"
        )
    return total


def gradients(model):
    found = {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("case", ["one image", "several", "two turns", "same question", "one pair", "text alone"])
def test_loss_and_gradients_equal_plain(model, case):
    random = np.random.default_rng(len(case))
    images = 1 if case in ("one image", "one pair") else 3
    rows, features, packs = [], [], []
    for image in range(images):
        count = 1 if case == "one pair" else int(random.integers(2, 9))
        mine = conversations(model, random, count, turns=2 if case == "two turns" else 1, image=case != "text alone")
        if case == "same question":
            mine = [mine[0], ([*mine[0][0][:-1], 33], [*mine[0][1][:-1], 33]), *mine[1:], mine[0]]
        feature = None if case == "text alone" else torch.randn(IMAGE_TOKENS, 64)
        packs += pack(mine, image=None if feature is None else image, image_token_id=model.config.image_token_id)
        rows += mine
        features += [feature] * len(mine)
    model.set_attn_implementation("eager")
    plain = plain_loss(model, rows, features)
    plain.backward()
    expected = gradients(model)

    use_packed_attention(model)
    batch = collate(packs)
    unique = None if case == "text alone" else torch.stack(list({id(f): f for f in features}.values()))
    logits, targets = packed_forward(model, batch, image_features=unique)
    loss = answer_loss(logits, targets, tokens=1)
    loss.backward()
    assert len(targets) == sum(label != IGNORE for _, labels in rows for label in labels)
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=0)
    got = gradients(model)
    assert got.keys() == expected.keys() and len(got) > 20
    for name, gradient in got.items():
        assert (gradient - expected[name]).norm() <= 1e-5 * expected[name].norm(), name


def test_pixels_and_features_agree_and_projector_gets_gradients(model):
    random = np.random.default_rng(3)
    packs = [
        p
        for image in range(2)
        for p in pack(conversations(model, random, 3), image=image, image_token_id=model.config.image_token_id)
    ]
    use_packed_attention(model)
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        vision = model.model.get_image_features(pixel_values=pixels).pooler_output
    by_features, _ = packed_forward(model, collate(packs), image_features=vision)
    by_pixels, targets = packed_forward(model, collate(packs), pixel_values=pixels)
    torch.testing.assert_close(by_features, by_pixels)
    answer_loss(by_pixels, targets).backward()
    assert model.model.multi_modal_projector.linear_2.weight.grad.abs().sum() > 0
    model.zero_grad()


def test_padding_to_a_common_length_is_only_for_attention(model):
    rows = conversations(model, np.random.default_rng(0), 8)
    (one,) = pack(rows, image=0, image_token_id=model.config.image_token_id)
    prefix = one.starts[0]
    assert prefix >= 3 + IMAGE_TOKENS
    assert len(one) == sum(len(ids) for ids, _ in rows) - 7 * prefix
    assert collate([one, one])["input_ids"].shape == (1, 2 * len(one))


def test_long_images_are_split_and_rows_that_differ_before_the_image_do_not_share(model):
    token = model.config.image_token_id
    rows = conversations(model, np.random.default_rng(1), 8)
    limit = 60
    packs = pack(rows, image=0, image_token_id=token, max_tokens=limit)
    assert len(packs) > 1 and all(len(p) <= limit for p in packs) and sum(p.pairs for p in packs) == 8
    other = [([99, *ids], [IGNORE, *labels]) for ids, labels in rows[:2]]
    packs = pack([*rows[:2], *other], image=0, image_token_id=token)
    assert [p.pairs for p in packs] == [2, 2]
    assert all((p.input_ids == token).sum() == IMAGE_TOKENS for p in packs)


@pytest.mark.parametrize("labels", [[IGNORE] * 4, [5, 6, 7, 8]])
def test_a_conversation_without_question_or_answer_is_refused(labels):
    with pytest.raises(ValueError, match="question of at least two tokens and an answer"):
        pack([([5, 6, 7, 8], labels)], image=0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6), min_size=1, max_size=4)
)
def test_blocks_see_exactly_what_the_mask_allows(shapes):
    """Every real slot attends to the tokens that the T x T mask names, and every token has one slot."""
    packs = []
    for image, pairs in enumerate(shapes):
        rows = [
            ([1, 2, 3, *range(100 + 20 * n, 100 + 20 * n + question), *range(300, 300 + answer)], answer)
            for n, (question, answer) in enumerate(pairs)
        ]
        packs += pack([(ids, [IGNORE] * (len(ids) - a) + ids[len(ids) - a :]) for ids, a in rows], image=image)
    mask, plan = block_mask(packs)[0, 0].numpy(), blocks(packs)
    take, valid = plan.take.numpy(), plan.valid.numpy().ravel()
    assert sorted(take[valid]) == list(range(len(mask)))
    assert (take[plan.back.numpy()] == np.arange(len(mask))).all()
    prefixes = plan.groups[0]
    for group in plan.groups:
        slots = np.arange(group.first, group.first + group.count * group.length).reshape(group.count, group.length)
        for row, own in enumerate(slots):
            keys = own
            if group.owner is not None:
                before = prefixes.first + int(group.owner[row]) * prefixes.length
                keys = np.concatenate([np.arange(before, before + prefixes.length), own])
            for place, slot in enumerate(own):
                if valid[slot]:
                    seen = keys[group.mask[row, 0, place].numpy() == 0]
                    assert valid[seen].all()
                    assert sorted(take[seen]) == np.flatnonzero(mask[take[slot]]).tolist()


def test_answer_weights_let_every_answer_count_alike():
    labels = torch.tensor([[IGNORE, 5, 6, IGNORE, IGNORE, 7, IGNORE, 8, 9, 10]])
    weights = answer_weights(labels, "answer")
    assert weights.mean() == pytest.approx(1.0)
    assert [part.sum().item() for part in weights.split([2, 1, 3])] == pytest.approx([2.0, 2.0, 2.0])
    logits, targets = torch.randn(6, 12), labels[labels != IGNORE]
    each = functional.cross_entropy(logits, targets, reduction="none")
    means = torch.stack([part.mean() for part in each.split([2, 1, 3])])
    assert answer_loss(logits, targets, weights=weights).item() == pytest.approx(means.mean().item(), rel=1e-6)


def test_root_weights_let_an_answer_count_by_the_root_of_its_length():
    labels = torch.tensor([[IGNORE, 5, IGNORE, 6, 7, 8, 9]])
    one, four = answer_weights(labels, "root").split([1, 4])
    assert four.sum() == pytest.approx(2 * one.sum().item())
    assert answer_weights(labels, "token") is None


@pytest.mark.parametrize("weighting", ["token", "root", "answer"])
def test_the_mean_weight_makes_a_step_the_same_in_any_parts(weighting):
    """Packs of very different answers: scaled each by its own mean, the parts of a step would change its loss."""
    lengths = ([1, 1], [9], [4, 25], [1])
    packs = [
        made
        for image, answers in enumerate(lengths)
        for made in pack([([1, 2, 3, *range(30, 30 + n)], [IGNORE] * 3 + [*range(30, 30 + n)]) for n in answers], image)
    ]
    table = torch.randn(60, 60, generator=torch.Generator().manual_seed(0))

    def loss(parts):
        total = torch.zeros(())
        for part in parts:
            labels = collate(part)["labels"]
            targets = labels[labels != IGNORE]
            weights = answer_weights(labels, weighting, mean_weight(packs, weighting))
            total = total + answer_loss(table[targets], targets, tokens=41, weights=weights)
        return total.item()

    whole = loss([packs])
    for parts in ([[one] for one in packs], [packs[:1], packs[1:]]):
        assert loss(parts) == pytest.approx(whole, rel=1e-5)
    weights = answer_weights(collate(packs)["labels"], weighting, mean_weight(packs, weighting))
    assert weights is None or weights.mean().item() == pytest.approx(1.0, rel=1e-5)
