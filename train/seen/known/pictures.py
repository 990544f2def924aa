"""Finds the pictures that are asked about, in the zip archives of the face sets or in a folder."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

from PIL import Image

from facellm.errors import FaceLLMError
from facellm.vision.images import load_image

THUMBNAIL = 112  # px


class Pictures:
    """Opens pictures by the name that the tags give them. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        """folder: holds `SET/*.zip` with members named as the rest of the file's name, or the files themselves."""
        self._folder = folder
        self._archives: dict[str, dict[str, zipfile.ZipFile]] = {}

    def raw(self, file: str) -> bytes:
        """The picture's bytes.  Raises FaceLLMError where there is none."""
        path = self._folder / file
        if path.is_file():
            return path.read_bytes()
        folder, _, member = file.partition("/")
        if folder not in self._archives:
            found: dict[str, zipfile.ZipFile] = {}
            for archive in sorted((self._folder / folder).glob("*.zip")):
                handle = zipfile.ZipFile(archive)
                found |= dict.fromkeys(handle.namelist(), handle)
            self._archives[folder] = found
        handle = self._archives[folder].get(member)
        if handle is None:
            raise FaceLLMError(f"There is no picture {file} in {self._folder}, neither as a file nor in a zip archive.")
        return handle.read(member)

    def load(self, file: str) -> Image.Image:
        """The picture in RGB."""
        return load_image(self.raw(file), lenient=True)

    def thumbnail(self, file: str) -> str:
        """A small JPEG as a data URL."""
        image = self.load(file)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
