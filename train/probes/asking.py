"""How probes ask: greedily, a line an answer as it comes, so that a run that was killed goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facellm.errors import FaceLLMError
from train import journal

if TYPE_CHECKING:
    from facellm.engine.offline import Ask, OfflineEngine

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Said:
    """An answer. key: the question's.  tokens: its length."""

    key: str
    text: str
    tokens: int = 0


def ask_all(
    asks: Mapping[str, Ask], engine: OfflineEngine, variant: str, path: Path, new_tokens: int, progress: Progress
) -> dict[str, str]:
    """Asks what a file does not hold yet and appends each answer at once.

    Args:
        asks: Key -> question.
        engine: The model.
        variant: "base" or "facellm".
        path: The file of answers.
        new_tokens: The longest answer.
        progress: Told (variant, done, total) after each answer.

    Returns:
        Key -> answer, of all questions.

    Raises:
        FaceLLMError: Where the file holds something else, or a question does not fit into the model.
    """
    try:
        said = {key: Said(**row) for key, row in journal.read(path, "an answer").items()}
    except TypeError as error:
        raise FaceLLMError(f"{path} holds something else than answers ({error}); remove it and run again.") from None
    missing = [key for key in asks if key not in said]
    for key in missing:
        if fault := engine.fault(asks[key], variant):
            raise FaceLLMError(f"{key} cannot be asked: {fault}.")

    def answer(keys: Sequence[str]) -> Iterator[Said]:
        for index, found in engine.generate([asks[key] for key in keys], variant, new_tokens):
            yield Said(keys[index], found.text, found.tokens)

    journal.complete(path, said, missing, answer, partial(progress, f"{variant}, {path.stem}"))
    return {key: said[key].text for key in asks}
