"""Puts what a run left onto the Hugging Face hub; whether that will be allowed is asked before the run begins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError


class Upload:
    """A repository on the hub that a run's result goes to.

    Args:
        name: The repository, as owner/name.
        public: Whether it is made public where it does not exist yet.
    """

    def __init__(self, name: str, public: bool = False) -> None:
        from huggingface_hub import HfApi

        self.name, self.public = name, public
        self.api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))

    def prepare(self) -> None:
        """Makes the repository, so that a missing token or right is told before anything is computed.

        Raises:
            FaceLLMError: Where the hub cannot be reached or refuses.
        """
        self._asked(
            "before training", lambda: self.api.create_repo(self.name, private=not self.public, exist_ok=True),
            "set HF_TOKEN to a token that may write there, or leave --push-to-hub out",
        )  # fmt: skip

    def push(self, folder: Path) -> str:
        """Uploads a folder in one commit.

        Args:
            folder: The finished adapter or model.

        Returns:
            The commit's address.

        Raises:
            FaceLLMError: Where the hub refuses; what was trained stays in `folder`.
        """
        made = self._asked(
            f"of {folder}",
            lambda: self.api.upload_folder(
                repo_id=self.name, folder_path=folder, commit_message=f"A FaceLLM {folder.name}"
            ),
            f"what was trained is in {folder}: send it with `hf upload {self.name} {folder}`",
        )
        return str(made.commit_url)

    def _asked(self, when: str, ask: Any, instead: str) -> Any:
        from httpx import HTTPError
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalTokenNotFoundError,
            OfflineModeIsEnabled,
        )

        try:
            return ask()
        except HFValidationError:
            raise FaceLLMError(f"{self.name!r} is no name of a repository; write --push-to-hub owner/name.") from None
        except OfflineModeIsEnabled:
            raise FaceLLMError(f"HF_HUB_OFFLINE is set, so nothing can be uploaded {when}; {instead}.") from None
        except (HfHubHTTPError, LocalTokenNotFoundError, HTTPError, OSError, ValueError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = f"status {status}" if status else type(error).__name__
            raise FaceLLMError(f"The hub refused the upload {when} to {self.name} ({reason}); {instead}.") from None
