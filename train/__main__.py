"""`python -m train VERB` (or `facellm-train VERB`): builds the data set, trains and measures.

Each verb is a module with `main(argv: list[str]) -> int | None`. It is imported only when it is asked for, so that help
appears at once, and only after the packages that it needs were found, so that no work is done before one is missed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

from facellm.errors import FaceLLMError
from facellm.storage.writable import refused

# verb -> (module, packages of an extra that it needs, what it does)
VERBS = {
    "dataset": (
        "train.dataset.dataset",
        "matplotlib yaml",
        "ask a teacher eight questions about every FairFace image and write the training set",
    ),
    "audit": (
        "train.people.audit.audit",
        "gradio jinja2 scipy sklearn statsmodels",
        "judge a sample of a data set's answers sentence by sentence, and report",
    ),
    "lora": ("train.lora.lora", "jinja2 matplotlib yaml", "train a LoRA adapter on the decoder of an InternVL"),
    "export": ("train.lora.export", "jinja2", "merge an adapter into its base as a checkpoint of its own"),
    "ablate": (
        "train.experiment.ablate",
        "jinja2 matplotlib scipy statsmodels yaml",
        "train and measure one adapter for each rank",
    ),
    "experiment": (
        "train.experiment.experiment",
        "jinja2 matplotlib scipy statsmodels yaml",
        "train arms that differ in one thing under several seeds, and compare them",
    ),
    "benchmark": ("train.evaluate.benchmark", "", "build a multiple-choice benchmark from labelled faces"),
    "evaluate": (
        "train.evaluate.evaluate",
        "jinja2 matplotlib scipy statsmodels yaml",
        "measure a model on multiple-choice questions",
    ),
    "calibrate": (
        "train.evaluate.calibrate",
        "jinja2 scipy statsmodels",
        "fit the profile's temperatures on labelled faces",
    ),
    "freetext": (
        "train.evaluate.freetext",
        "jinja2 scipy statsmodels",
        "check what a model writes about labelled faces against the labels",
    ),
    "chat": (
        "train.chat.chat",
        "jinja2 scipy statsmodels yaml",
        "ask a model what people ask about faces, and score its answers",
    ),
    "agreement": (
        "train.people.agreement.agreement",
        "jinja2 matplotlib scipy sklearn statsmodels yaml",
        "compare people's answers with synthetic ones, and what is learnt from each",
    ),
    "bias": (
        "train.bias.bias",
        "fairlearn jinja2 matplotlib pandas scipy statsmodels",
        "compare the figures of groups of people",
    ),
}
EXTRAS = {"gradio": "demo"}  # package -> the extra that brings it; the others come with `train`


def usage() -> str:
    """Returns the list of verbs."""
    wide = max(map(len, VERBS))
    lines = [f"  {verb:<{wide}}  {text}" for verb, (_, _, text) in VERBS.items()]
    return "\n".join(["usage: python -m train VERB [OPTIONS]", "", *lines, "", "VERB --help explains its options."])


def check_needs(verb: str) -> None:
    """Looks for the packages that a verb needs.

    Raises:
        FaceLLMError: Where one is missing; the message says which extra to install.
    """
    missing = [name for name in VERBS[verb][1].split() if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({EXTRAS.get(name, "train") for name in missing}))
        raise FaceLLMError(
            f"`train {verb}` needs {' and '.join(missing)}, which this environment lacks; install with "
            f"`pip install 'facellm[{extras}]'`, or in a checkout with `pip install '.[{extras}]'`."
        )


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns the exit status: 0 done, 1 as the verb says, 2 wrong input, 130 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb not in VERBS:
        print(f"There is no verb {verb!r}; choose from {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    try:
        check_needs(verb)
        return importlib.import_module(VERBS[verb][0]).main(rest) or 0
    except FaceLLMError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        if (sentence := refused(error)) is None:
            raise
        print(sentence, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
