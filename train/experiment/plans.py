"""The experiments by name: their arms, what differs between these, and what question they answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facellm.errors import FaceLLMError
from train.lora.recipe import Recipe

MAIN = ""  # the set of --data
FULL_RATE = 0.1  # full fine-tuning learns at this share of an adapter's rate, as is usual


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: For folders and tables.
        settings: What it sets in the recipe.
        data: Which set it learns, a name of --set; `MAIN` for that of --data.
        mix: Whether general rows are mixed in.
        rate: Its learning rate as a share of the recipe's.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = MAIN
    mix: bool = False
    rate: float = 1.0

    def recipe(self, recipe: Recipe, seed: int) -> Recipe:
        """The recipe of this arm under a seed."""
        settings = {"learning_rate": recipe.learning_rate * self.rate, **self.settings, "seed": seed}
        return dataclasses.replace(recipe, **settings)


@dataclass(frozen=True)
class Experiment:
    """Arms that differ in one thing. question: what is compared, as a sentence for the report."""

    question: str
    arms: tuple[Arm, ...]

    @property
    def sets(self) -> list[str]:
        """Names of the sets beside --data that it needs."""
        return [arm.data for arm in self.arms if arm.data != MAIN]

    @property
    def mixes(self) -> bool:
        return any(arm.mix for arm in self.arms)


RANKS = (4, 8, 16, 32)
EXPERIMENTS: dict[str, Experiment] = {
    "ranks": Experiment(
        "How much does the rank matter where alpha stays, so that a larger rank is also scaled down?",
        tuple(Arm(f"rank-{rank}", {"rank": rank}) for rank in RANKS),
    ),
    "ranks-scaled": Experiment(
        "How much does the rank matter where alpha is twice the rank, so that the scale stays?",
        tuple(Arm(f"rank-{rank}", {"rank": rank, "alpha": 2 * rank}) for rank in RANKS),
    ),
    "prompts": Experiment(
        "Are eight questions about attributes better to learn from than one holistic description?",
        (Arm("eight"), Arm("holistic", data="holistic")),
    ),
    "hint": Experiment(
        "Does it help that the teacher was told the labels?", (Arm("hint"), Arm("no-hint", data="no-hint"))
    ),
    "parts": Experiment(
        "What is gained by training the projector, or everything, in place of an adapter?",
        (
            Arm("adapter", {"train": "adapter"}),
            Arm("projector", {"train": "projector"}),
            Arm("full", {"train": "all"}, rate=FULL_RATE),
        ),
    ),
    "people": Experiment(
        "Is more learnt from people's answers than from synthetic ones to the same questions?",
        (Arm("synthetic"), Arm("human", data="human")),
    ),
    "teachers": Experiment(
        "Is more learnt from a teacher that saw the face than from one that was told measurements?",
        (Arm("measured"), Arm("seen", data="seen")),
    ),
    "general": Experiment(
        "What does it cost, or give, to mix in general rows?", (Arm("faces"), Arm("with-general", mix=True))
    ),
}


def check_sets(name: str, sets: Mapping[str, Any], mix: Any) -> None:
    """Raises FaceLLMError where an experiment lacks a set that it needs, or was given one that it has no use for."""
    experiment = EXPERIMENTS[name]
    for needed in experiment.sets:
        if needed not in sets:
            raise FaceLLMError(f"The experiment {name} needs a second set; add --set {needed}=FOLDER.")
    for given in sets:
        if given not in experiment.sets:
            wanted = f"it takes {', '.join(experiment.sets)}" if experiment.sets else "it takes none"
            raise FaceLLMError(f"The experiment {name} has no use for --set {given}=...; {wanted}.")
    if experiment.mixes and mix is None:
        raise FaceLLMError(f"The experiment {name} needs general rows; add --mix SET.")
