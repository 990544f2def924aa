"""What the tests of the scheduler ask, and what they look at."""

from facellm.engine.sampling import Sampling
from tests import tiny
from tests.reference import generate

PHOTOS = [tiny.picture(seed, 80) for seed in range(3)]
QUESTIONS = (
    "Hi",
    "Is the mouth open?",
    "What is the age group of the person? Answer with one of: 0-2, 3-9, 10-19, 20-29, more than 70.",
    "Describe the face pose of the image based on the visual information.",
)
LONGEST = 12


_known = {}


def plain(engine, photo, row, length):
    """Token ids of a run of its own, by transformers' generate()."""
    key = (engine.loaded.folder, engine.loaded.report.sharing, photo, row.variant, row.question)
    if key not in _known:
        _known[key] = generate(engine.loaded, PHOTOS[photo], row, Sampling(max_new_tokens=LONGEST))[0]
    return _known[key][:length]


def queue_of(engine):
    return next(iter(engine.scheduler.queues.values()))


def ids(deltas):
    return {d.row: list(d.answer.token_ids) for d in deltas if d.done}
