"""Where an annotator is in an audit, and what each of their acts does: mark and move on, move, undo, write.

A place is found again from the store alone, so that a closed browser or a killed server costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from train.people.audit.items import Item
from train.people.audit.judgements import AuditStore, check_person


@dataclass(frozen=True)
class Place:
    """item, sentence: from 0."""

    annotator: str
    item: int = 0
    sentence: int = 0


@dataclass(frozen=True)
class Progress:
    sentences: int
    of_sentences: int
    pairs: int  # with every sentence marked
    of_pairs: int
    written: int

    @property
    def done(self) -> bool:
        return self.sentences == self.of_sentences


class Session:
    """One audit file, for any number of annotators."""

    def __init__(self, store: AuditStore) -> None:
        self.store = store
        self.items: list[Item] = store.items()
        self._index = {item.key: place for place, item in enumerate(self.items)}

    def begin(self, name: str) -> Place:
        """The first sentence that this annotator has not marked.  Raises FaceLLMError for an unusable name."""
        place = Place(check_person(name))
        return self._open_from(place, (0, 0)) or place

    def item(self, place: Place) -> Item:
        return self.items[place.item]

    def marks(self, annotator: str) -> Mapping[tuple[str, int], str]:
        """(item, sentence) -> mark"""
        return {(mark.item, mark.sentence): mark.mark for mark in self.store.marks(annotator)}

    def mark(self, place: Place, mark: str) -> Place:
        """Stores the mark (it is on the disk afterwards) and moves to the next open sentence, if there is one."""
        self.store.mark(self.item(place).key, place.sentence, place.annotator, mark)
        return self._open_from(place, (place.item, place.sentence + 1)) or place

    def undo(self, place: Place) -> Place | None:
        """Takes the latest mark back and goes there; None where there is none."""
        last = self.store.undo(place.annotator)
        return None if last is None else replace(place, item=self._index[last[0]], sentence=last[1])

    def move_sentence(self, place: Place, step: int) -> Place:
        """Up or down by one sentence, over the ends of an answer; at the first and the last one nothing moves."""
        sentence = place.sentence + step
        if 0 <= sentence < len(self.item(place).sentences):
            return replace(place, sentence=sentence)
        other = self.move_item(place, step)
        if other.item != place.item and step < 0:
            return replace(other, sentence=len(self.item(other).sentences) - 1)
        return other if other.item != place.item else place

    def move_item(self, place: Place, step: int) -> Place:
        """To the next or the last pair, at its first sentence."""
        item = min(max(place.item + step, 0), len(self.items) - 1)
        return replace(place, item=item, sentence=0) if item != place.item else place

    def progress(self, annotator: str) -> Progress:
        marks = self.marks(annotator)
        left = {item.key: sum((item.key, s) not in marks for s in range(len(item.sentences))) for item in self.items}
        total = sum(len(item.sentences) for item in self.items)
        return Progress(
            total - sum(left.values()), total, sum(not n for n in left.values()), len(left),
            len(self.store.written(annotator)),
        )  # fmt: skip

    def answers(self, annotator: str) -> Mapping[str, str]:
        """item -> the annotator's own answer"""
        return {written.item: written.answer for written in self.store.written(annotator)}

    def write(self, place: Place, answer: str) -> Place:
        """Stores the annotator's own answer and moves to the next pair without one, if there is one."""
        self.store.write_answer(self.item(place).key, place.annotator, answer)
        return self.unwritten(place, place.item + 1)

    def unwritten(self, place: Place, start: int = 0) -> Place:
        """The first pair from `start` on (then from the beginning) without an own answer; the same place if none."""
        own = self.answers(place.annotator)
        order = [*range(start, len(self.items)), *range(min(start, len(self.items)))]
        free = next((n for n in order if self.items[n].key not in own), place.item)
        return replace(place, item=free, sentence=0)

    def _open_from(self, place: Place, start: tuple[int, int]) -> Place | None:
        """The first open sentence from `start` (item, sentence) on, then from the beginning; None: all are done."""
        marks = self.marks(place.annotator)
        every = [(n, s) for n, item in enumerate(self.items) for s in range(len(item.sentences))]
        later = [where for where in every if where >= start] + [where for where in every if where < start]
        free = next(((n, s) for n, s in later if (self.items[n].key, s) not in marks), None)
        return None if free is None else replace(place, item=free[0], sentence=free[1])
