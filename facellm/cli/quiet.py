"""What libraries may print while a command runs."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def quiet(verbose: bool, notes: bool) -> None:
    """Lets only what concerns the user reach the terminal.

    Args:
        verbose: Whether what is opened, and why, is told.
        notes: Whether notes of loading are told, which --json has in its object.
    """
    logging.basicConfig(format="%(name)s: %(message)s")
    logging.getLogger("facellm").setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("facellm.weights.load").setLevel(logging.NOTSET if notes or verbose else logging.ERROR)
    if not verbose:
        warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    downloads = sys.stderr.isatty() and not are_progress_bars_disabled()
    transformers_logging.disable_progress_bar()
    if downloads:  # transformers has switched off the hub's as well
        enable_progress_bars()
