"""Choosing tokens: greedy, nucleus, penalty; every row on its own."""

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from facellm import FaceLLMError
from facellm.engine.sampling import Sampler, Sampling

CPU = torch.device("cpu")


def sampler(*settings, prompts=None):
    return Sampler(settings, prompts or [[0]] * len(settings), CPU)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 10**6},
        {"temperature": -1},
        {"temperature": 3},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"seed": -1},
        {"seed": 1.5},
        {"repetition_penalty": 0.5},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(FaceLLMError, match=f"{next(iter(wrong))} is .*; it must be"):
        Sampling(**wrong)


def test_greedy_takes_the_largest():
    logits = torch.tensor([[0.0, 3, 1], [5, 3, 1]])
    assert sampler(Sampling(), Sampling()).sample(logits).tolist() == [1, 0]


def test_a_row_does_not_depend_on_its_neighbours():
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    warm = [Sampling(temperature=1.0, seed=7), Sampling(temperature=0.7, seed=1), Sampling()]
    together = sampler(*warm)
    alone = [sampler(s) for s in warm]
    for _ in range(20):
        assert together.sample(logits).tolist() == [a.sample(logits[i : i + 1])[0].item() for i, a in enumerate(alone)]
    together.keep([1, 2])
    for _ in range(5):
        assert together.sample(logits[1:]).tolist() == [alone[i].sample(logits[i : i + 1])[0].item() for i in (1, 2)]


def test_the_same_seed_gives_the_same_words_and_another_gives_others():
    logits = torch.zeros(1, 1000)

    def draw(seed):
        own = sampler(Sampling(temperature=1.0, seed=seed))
        return [own.sample(logits).item() for _ in range(8)]

    assert draw(3) == draw(3) != draw(4)


def test_frequencies_follow_the_probabilities():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    own = sampler(Sampling(temperature=1.0))
    counts = torch.bincount(torch.cat([own.sample(probabilities.log()[None]) for _ in range(4000)]), minlength=4)
    torch.testing.assert_close(counts / 4000, probabilities, atol=0.03, rtol=0)


def test_top_p_keeps_the_likeliest_until_their_mass_is_reached():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for top_p, allowed in ((0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        own = sampler(Sampling(temperature=1.0, top_p=top_p))
        assert {own.sample(logits).item() for _ in range(300)} == allowed


def test_repetition_penalty_is_transformers_own():
    logits = torch.randn(2, 30, generator=torch.Generator().manual_seed(0))
    prompts = [[1, 2, 3], [4, 4, 5]]
    own = sampler(Sampling(repetition_penalty=1.5), Sampling(repetition_penalty=1.5), prompts=prompts)
    ids = torch.tensor(prompts)
    reference = RepetitionPenaltyLogitsProcessor(1.5)
    for _ in range(6):
        expected = reference(ids, logits.clone()).argmax(-1)
        assert own.sample(logits).tolist() == expected.tolist()
        ids = torch.cat([ids, expected[:, None]], 1)
