"""The test split: exact, deterministic, never of val."""

from __future__ import annotations

import random
from pathlib import Path

from train.seen.known import split


def _labels(folder: Path, train: int, val: int) -> None:
    folder.mkdir(parents=True)
    names = [f"train/{i}.jpg" for i in range(train)] + [f"val/{i}.jpg" for i in range(val)]
    (folder / "labels.csv").write_text("file,expression\n" + "".join(f"{name},neutral\n" for name in names))


def test_the_cut_depends_on_names_alone() -> None:
    files = [f"utkface/train/{i}.jpg" for i in range(500)]
    shuffled = random.Random(1).sample(files, len(files))
    assert split.cut(files, 50) == split.cut(shuffled, 50)
    assert len(split.cut(files, 50)) == 50
    # Faces that are added later push some out, but never bring back one that was not chosen.
    assert split.cut(files, 50) & set(files[:250]) <= split.cut(files[:250], 50)


def test_test_is_cut_from_train_of_both_sets(tmp_path: Path) -> None:
    _labels(tmp_path / "utkface", 300, 40)
    _labels(tmp_path / "expressions", 200, 20)
    splits = split.read_splits(tmp_path, 100)
    kept_back = [file for file, name in splits.items() if name == split.TEST]
    assert len(splits) == 560 and len(kept_back) == 100
    assert all("/train/" in file for file in kept_back)
    assert {file.split("/")[0] for file in kept_back} == {"utkface", "expressions"}
    assert all((name == split.VAL) == ("/val/" in file) for file, name in splits.items())
