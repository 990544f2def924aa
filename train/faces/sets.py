"""Labelled folders: a label file or UTKFace's names, measurements.csv where there is one, and images in the folder or
in its zip archives.

Knows what is written of the faces, and nothing of questions or models.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from facellm.errors import FaceLLMError
from train.faces.conventions import UTK_FORM, is_picture, utk_names
from train.faces.label_files import FileLabels, read_file_labels, read_name_labels
from train.faces.label_rows import label_file
from train.faces.measures import pose_label, read_measurements

CELEBA = ("list_attr_celeba.txt", "list_attr_celeba.csv")
HELD_OUT = "val"
SPLIT_HELP = "first folder of the images' names; `all` takes every image (default: val where there is one, else all)"


@dataclass(frozen=True)
class Face:
    """One image of a set.

    Attributes:
        source: The set's name.
        name: The image's name in the set.
        labels: Its label for each task of `train.faces.tasks`; missing where there is none.
    """

    source: str
    name: str
    labels: Mapping[str, str]

    @property
    def key(self) -> str:
        return f"{self.source}/{self.name}"


class FaceSet:
    """A labelled folder.

    Attributes:
        folder: Where it lies.
        name: The folder's own name.
        labels: What the label file says, by image.
        measurements: Face-mesh measurements of the images on which a mesh was fitted.
    """

    def __init__(self, folder: Path, labels: Path | None = None) -> None:
        """Opens the folder.

        Args:
            folder: The folder.
            labels: Another file than the folder's labels.csv, FairFace's label file in or beside it, or CelebA's list
                there. Where there is none of them, UTKFace's file names are read.

        Raises:
            FaceLLMError: For a folder, label file, measurements or archive that cannot be read.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FaceLLMError(f"There is no folder {folder}; give a folder with labels.csv and its images.")
        self.name = self.folder.resolve().name
        measured = self.folder / "measurements.csv"
        self.measurements = read_measurements(measured, "--data") if measured.is_file() else {}
        self._archives: dict[str, Path] = {}
        for archive in sorted(self.folder.glob("*.zip")):
            try:
                with zipfile.ZipFile(archive) as handle:
                    members = handle.namelist()
            except (OSError, zipfile.BadZipFile) as error:
                raise FaceLLMError(f"{archive} cannot be read as a zip archive ({error}); replace it.") from None
            for member in members:
                self._archives.setdefault(member, archive)
        self.labels, source = self._read_labels(labels)
        self.unknown = self.labels.about_unknown(source)
        self._open: dict[Path, zipfile.ZipFile] = {}

    def _read_labels(self, given: Path | None) -> tuple[FileLabels, Path]:
        """The labels and where they come from."""
        own = self.folder / "labels.csv"
        file = given or (own if own.is_file() else label_file(self.folder))
        lists = [place / name for place in (self.folder, self.folder.parent) for name in CELEBA]
        file = file or next((path for path in lists if path.is_file()), None)
        if file is not None:
            return read_file_labels(file, "--labels" if given else "--data", self.folder), file
        names = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}
        pictures = sorted(name for name in names | set(self._archives) if is_picture(name))
        if not utk_names(pictures):
            raise FaceLLMError(
                f"{self.folder} has no labels.csv, no fairface_label_*.csv, no {CELEBA[0]} and no image named as "
                f"UTKFace names them ({UTK_FORM}); add labels.csv with `file` and any of age, gender, race, expression."
            )
        return read_name_labels(pictures), self.folder

    def faces(self, split: str | None) -> list[Face]:
        """Returns the faces whose name begins with `split`/ (None: all), in the label file's order."""
        found = []
        for name, labels in self.labels.labels.items():
            if split and PurePosixPath(name).parts[:1] != (split,):
                continue
            pose = pose_label(self.measurements.get(name, {}).get("yaw_deg", float("nan")))
            found.append(Face(self.name, name, {**labels, "headpose": pose} if pose else labels))
        return found

    def names(self) -> list[str]:
        """Returns the labelled images that the archives hold, archive by archive, in their order there."""
        return [name for name in self._archives if name in self.labels.labels]

    def has(self, name: str) -> bool:
        """Returns whether the archives or the folder hold an image."""
        return name in self._archives or (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """Returns an image file's bytes.

        Raises:
            FaceLLMError: Where neither folder nor archive holds them whole.
        """
        archive = self._archives.get(name)
        if archive is not None:
            if archive not in self._open:
                self._open[archive] = zipfile.ZipFile(archive)
            try:
                return self._open[archive].read(name)
            except Exception as error:  # zipfile raises anything at damaged or encrypted members
                raise FaceLLMError(f"{archive}: {name} cannot be read ({error}); replace the archive.") from None
        path = self.folder / name
        if not path.is_file():
            raise FaceLLMError(
                f"{self.folder} has a label for {name}, but neither folder nor archives hold that image."
            )
        return path.read_bytes()

    def image(self, name: str) -> Image.Image:
        """Opens an image, in RGB.

        Raises:
            FaceLLMError: As `read`, and where the image is damaged.
        """
        raw = self.read(name)
        try:
            with Image.open(io.BytesIO(raw)) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow's readers raise anything at damaged data
            raise FaceLLMError(
                f"{self.folder}: the image {name} is damaged or in an unknown format; replace it or remove its label."
            ) from error


def chosen_split(sets: Sequence[FaceSet], given: str | None) -> str | None:
    """Returns the split to look at, None for all images.

    Args:
        sets: The labelled folders.
        given: What the user wrote: `all`, the first folder of the images' names, or nothing, which means `val` where an
            image lies there and all of them otherwise.
    """
    if given is not None:
        return None if given in ("all", "") else given
    plain = [source.name for source in sets if not source.faces(HELD_OUT)]
    if len(plain) == len(sets):
        return None
    if plain:
        print(f"{', '.join(plain)} has no image in {HELD_OUT}/ and is left out; --split all takes it.", file=sys.stderr)
    return HELD_OUT


def open_sets(folders: Sequence[Path], labels: Path | None = None) -> list[FaceSet]:
    """Opens labelled folders and tells on standard error which labels are unknown.

    A folder without labels.csv stands for those of its subfolders that have one.

    Raises:
        FaceLLMError: As `FaceSet`.
    """
    found = []
    for folder in folders:
        inside = sorted(p.parent for p in Path(folder).glob("*/labels.csv"))
        if labels is None and inside and not (Path(folder) / "labels.csv").is_file():
            found += [FaceSet(one) for one in inside]
        else:
            found.append(FaceSet(folder, labels))
    for source in found:
        if source.unknown:
            print(source.unknown, file=sys.stderr)
    return found
