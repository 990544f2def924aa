"""`python -m train VERB`: builds the data set, trains and measures. `python -m train VERB --help` explains a verb.

Each verb is a module with `main(argv: list[str]) -> int | None`; it is imported only when it is asked for, so that help
appears at once. What this file does not know: anything about the verbs but a line of help.
"""

from __future__ import annotations

import importlib
import sys

from facellm.errors import FaceLLMError

# verb -> (module, what it does)
VERBS = {
    "dataset": (
        "train.dataset.dataset",
        "ask a teacher eight questions about every FairFace image and write the training set",
    ),
    "audit": ("train.people.audit.audit", "judge a sample of a data set's answers sentence by sentence, and report"),
    "lora": ("train.lora.lora", "train a LoRA adapter on the decoder of an InternVL"),
    "export": ("train.lora.export", "merge an adapter into its base as a checkpoint of its own"),
    "ablate": ("train.lora.ablate", "train and measure one adapter for each rank"),
    "benchmark": ("train.evaluate.benchmark", "build a multiple-choice benchmark from labelled faces"),
    "evaluate": ("train.evaluate.evaluate", "measure a model on multiple-choice questions"),
    "calibrate": ("train.evaluate.calibrate", "fit the profile's temperatures on labelled faces"),
    "freetext": ("train.evaluate.freetext", "check what a model writes about labelled faces against the labels"),
    "agreement": (
        "train.people.agreement.agreement",
        "compare people's answers with synthetic ones, and what is learnt from each",
    ),
    "bias": ("train.bias.bias", "compare the figures of groups of people"),
}


def usage() -> str:
    wide = max(map(len, VERBS))
    lines = [f"  {verb:<{wide}}  {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(["usage: python -m train VERB [OPTIONS]", "", *lines, "", "VERB --help explains its options."])


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb not in VERBS:
        print(f"There is no verb {verb!r}; choose from {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(VERBS[verb][0]).main(rest) or 0
    except FaceLLMError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
