"""Keeps an answer to a JSON schema, token by token, through llguidance; also when the answer's budget runs out.

The model chooses among the tokens that the schema allows. Where its choice could not be completed within the tokens
that are left, a short way to a complete answer is taken in its place, so that a long answer is cut short but parses.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from threading import Lock
from typing import Any

import numpy as np

from facellm.errors import FaceLLMError, ParameterError
from facellm.grammars.response_format import PARAMETER

# As json.dumps writes it, which is also how models write it; free white space would let them go on for ever.
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CLOSING = ("}", "]", '"', ":", ",", "0", "true", "false", "null")  # what leads to an end soonest, best first
_GROWTH = 8  # tokens by which one token may lengthen the way to the end, before that way is looked for again


class Grammars:
    """Makes grammars for one tokenizer. Safe to use from several threads."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos: Collection[int]) -> None:
        """Reads nothing yet.

        Args:
            tokenizer: A fast tokenizer of transformers.
            vocabulary: How many logits the model has; may be more than the tokenizer's tokens.
            eos: Ids of the tokens that end an answer.
        """
        self._tokenizer, self.vocabulary, self.eos = tokenizer, vocabulary, frozenset(eos)
        self._lock = Lock()
        self._known: Any = None  # llguidance's form of the tokenizer, made once
        self.closing: tuple[int, ...] = ()  # ids of _CLOSING
        self.quote = self.letter = -1  # ids of a quotation mark, and of a letter that JSON has within strings alone

    def json(self, schema: Mapping[str, Any], budget: int) -> JsonGrammar:
        """Returns a grammar for one answer.

        Args:
            schema: A JSON schema.
            budget: The most tokens that the answer may have.

        Raises:
            ParameterError: For a schema that cannot be read or satisfied.
            FaceLLMError: Where llguidance is not installed or cannot read the tokenizer.
        """
        try:
            import llguidance
        except ImportError:
            raise FaceLLMError(
                "response_format needs the package llguidance; install it with: pip install 'facellm[serve]'."
            ) from None
        known = self._read()
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_STYLE)  # type: ignore[arg-type]
        matcher = llguidance.LLMatcher(known, grammar, log_level=0)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())[:200].rstrip(".")
            raise ParameterError(f"The schema of response_format cannot be used: {reason}.", PARAMETER)
        return JsonGrammar(self, matcher, budget)

    def _read(self) -> Any:
        from llguidance import hf

        with self._lock:
            if self._known is None:
                try:
                    self._known = hf.from_tokenizer(
                        self._tokenizer, n_vocab=self.vocabulary, eos_token=sorted(self.eos)
                    )
                except Exception as error:  # whatever the library finds wrong with a tokenizer
                    raise FaceLLMError(
                        f"This model's tokenizer cannot be held to a response_format ({error}); leave it out."
                    ) from None
                single = [self._known.tokenize_str(text) for text in _CLOSING]
                self.closing = tuple(ids[0] for ids in single if len(ids) == 1)
                self.quote, self.letter = (self._known.tokenize_str(text)[0] for text in ('"', "x"))
            return self._known


class JsonGrammar:
    """One answer's state.

    Attributes:
        ended: Whether the answer is complete, so that no further token is needed.
        cut: Whether the budget, not the model, chose a token.
        fault: Why no further token can be chosen, in a sentence; else None.
    """

    def __init__(self, grammars: Grammars, matcher: Any, budget: int) -> None:
        self._grammars, self._matcher, self._left = grammars, matcher, budget
        self._check_at = budget  # tokens left at which the way to the end is looked for
        self.ended = self.cut = False
        self.fault: str | None = None

    def allowed(self) -> np.ndarray:
        """Returns (vocabulary,) bool: the tokens that may come next; after a fault only those that end an answer."""
        mask = self._mask(self._matcher)
        if not mask.any():
            reason = " ".join(self._matcher.get_error().split())[:200] or "no token is left"
            self.fault = f"The answer cannot be held to the schema of response_format ({reason}); simplify it."
            mask[list(self._grammars.eos)] = True
        return mask

    def take(self, token: int) -> int:
        """Takes the model's choice, or what has to come in its place for the answer to end within its budget.

        Returns:
            The token that was taken.
        """
        if self.fault or token in self._grammars.eos:
            self.ended = True
            return token
        self._left -= 1
        if self._left <= self._check_at:
            token = self._within_budget(token)
        if token in self._grammars.eos:
            self.ended = True
            return token
        self._matcher.consume_token(token)
        self.ended = self._matcher.is_stopped() and not self._matcher.is_error()
        return token

    def _within_budget(self, token: int) -> int:
        after = self._matcher.deep_copy()
        after.consume_token(token)
        if (way := self._way_out(after, self._left)) is None:
            own = self._way_out(self._matcher, self._left + 1)
            self._check_at = self._left
            if own is None:  # the budget was too small from the beginning
                return token
            self.cut = True
            return own[0] if own else min(self._grammars.eos)
        self._check_at = self._left - max(1, (self._left - len(way)) // _GROWTH)
        return token

    def _way_out(self, matcher: Any, limit: int) -> list[int] | None:
        """A short way from a state to a complete answer, or None where it takes more than `limit` tokens."""
        way: list[int] = []
        matcher = matcher.deep_copy()
        while not matcher.is_accepting():
            tokens = matcher.compute_ff_tokens() or self._closing(self._mask(matcher))
            way += tokens
            if not tokens or len(way) > limit or not matcher.consume_tokens(tokens):
                return None
        return way

    def _closing(self, mask: np.ndarray) -> list[int]:
        """The token that leads to an end soonest, in a list; an empty one where none may come."""
        if mask[self._grammars.letter] and mask[self._grammars.quote]:  # within a string, brackets are letters too
            return [self._grammars.quote]
        found = next((i for i in self._grammars.closing if mask[i]), None)
        if found is None and mask.any():
            found = int(mask.argmax())
        return [] if found is None else [found]

    def _mask(self, matcher: Any) -> np.ndarray:
        if matcher.is_error():
            return np.zeros(self._grammars.vocabulary, dtype=bool)
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._grammars.vocabulary].astype(bool)
