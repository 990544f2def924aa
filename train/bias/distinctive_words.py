"""Words that a model uses more for one group than for the others: log-odds with an informative Dirichlet prior.

Monroe, Colaresi & Quinn 2008, "Fightin' Words", section 3.4: for a word w with counts y in a group and in the rest,
and a prior of a_w words out of a_0, the log-odds are ln[(y + a_w) / (n + a_0 - y - a_w)] in each; their difference over
the root of 1 / (y_group + a_w) + 1 / (y_rest + a_w) is the z-score. The prior is informative: the words' shares in
all texts, `PRIOR` words strong. A word counts once for an image, since the words about one image are not independent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from facellm.claims import LABELLED
from train.reports import stats

PRIOR = 500.0  # words: draws a word that was seen a few times to its share in all texts
LEAST = 5  # images that must hold a word, over all groups
_WORD = re.compile(r"[a-z]+(?:[-'][a-z]+)*")
# What the prompt of a labelled teacher gave away: words that name gender, ethnicity and age differ by group because
# they are the group. Numbers are no words here.
GIVEN = re.compile(
    r"(?:" + "|".join(
        [*LABELLED["gender"].values(),
         r"(?:wo)?m[ae]n's|boys?|girls?|males?|females?|ladies|gentlem[ae]n|himself|herself|hers|masculine|feminine"
         r"|masculinity|femininity",
         r"white|black|asian|indian|african(?:-american)?|american|european|caucasian|latin[oa]?|hispanic|arab\w*|eastern"
         r"|east|south|southeast|middle|western|descent|mixed|others?|ethnic\w*|race|racial",
         r"age[ds]?|years?|years-old|year-old|old|teens?|(?:twen|thir|for|fif|six|seven|eigh|nine)ties|zero|one|two|three"
         r"|four|five|six|seven|eight|nine|ten"]
    ) + r")", re.IGNORECASE,
)  # fmt: skip
# Words that name a stage of life: stripped too where the groups are ages.
GIVEN_AGE = re.compile(
    r"(?:bab(?:y|ies)|infants?|toddlers?|child(?:ren|hood|'s|like)?|teenage(?:rs?)?|adolescen\w+|young(?:er|est)?|youth\w*"
    r"|adults?|middle-aged|elderly|older|oldest|seniors?|mature)", re.IGNORECASE,
)  # fmt: skip


def words_of(texts: Iterable[str], by_age: bool = False) -> set[str]:
    """The different words of the texts about one image, lower case, label words stripped (by_age: of ages as well)."""
    found: set[str] = set()
    for text in texts:
        words = _WORD.findall(text.replace("\u2019", "'").lower())
        found |= {word.removesuffix("'s") for word in words}
    return {w for w in found if len(w) > 1 and not GIVEN.fullmatch(w) and not (by_age and GIVEN_AGE.fullmatch(w))}


def log_odds(
    group: Mapping[str, int], rest: Mapping[str, int], prior: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """word -> (difference of log-odds, z-score) of every word of the prior; positive: more in `group`.

    prior: pseudo-counts a_w, all above 0.
    """
    words = list(prior)
    a = np.array([prior[w] for w in words], np.float64)
    y, other = (np.array([counts.get(w, 0) for w in words], np.float64) for counts in (group, rest))
    n, m, a0 = float(sum(group.values())), float(sum(rest.values())), a.sum()
    delta = np.log((y + a) / (n + a0 - y - a)) - np.log((other + a) / (m + a0 - other - a))
    z = delta / np.sqrt(1 / (y + a) + 1 / (other + a))
    return {w: (float(d), float(s)) for w, d, s in zip(words, delta, z, strict=True)}


def by_group(
    texts: Sequence[Mapping[str, str]], groups: Sequence[str], *, by_age: bool = False, top: int = 8
) -> list[dict[str, Any]]:
    """For each group, the `top` words that it gets most and least beside the rest.

    texts: {attribute: answer} of each image.  groups: of each image.  Rows of {"group", "word", "log_odds", "z",
    "p_holm", "images", "share", "rest_share", "significant"}; Holm's correction runs over all words of all groups.
    """
    from scipy.special import ndtr

    said = [words_of(answers.values(), by_age) for answers in texts]
    total = Counter(word for one in said for word in one)
    total = Counter({word: n for word, n in total.items() if n >= LEAST})
    if not total or len(set(groups)) < 2:
        return []
    prior = {word: PRIOR * n / total.total() for word, n in total.items()}
    found: list[dict[str, Any]] = []
    for name in sorted(set(groups)):
        mine = Counter(w for one, g in zip(said, groups, strict=True) if g == name for w in one if w in total)
        rest = total - mine
        images = sum(g == name for g in groups)
        for word, (delta, z) in log_odds(mine, rest, prior).items():
            found.append(
                {"group": name, "word": word, "log_odds": delta, "z": z, "p": 2 * float(ndtr(-abs(z))),
                 "images": mine[word], "share": mine[word] / images,
                 "rest_share": rest[word] / (len(groups) - images)}
            )  # fmt: skip
    for row, p in zip(found, stats.holm([row.pop("p") for row in found]), strict=True):
        row["p_holm"], row["significant"] = p, p < 0.05
    kept = []
    for name in sorted(set(groups)):
        own = sorted((row for row in found if row["group"] == name), key=lambda row: -row["z"])
        kept += [row for row in own[:top] if row["z"] > 0] + [row for row in own[-top:] if row["z"] < 0]
    return kept
