"""By hand, in an environment that has LLaMA-Factory: does its own loader read a data set, each row with its image?

    python tests/train/lora/llamafactory_check.py OUT        # a folder that `python -m train dataset` wrote

Runs LLaMA-Factory's parser (dataset_info.json), its file loader, its ShareGPT converter and the image reading of its
multimodal plugin; needs nothing of this project. Prints what came out as JSON, and ends with an error where a row has
lost its image, its question or its answer.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path


def main(out: Path) -> None:
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.mm_plugin import get_mm_plugin
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments, ModelArguments
    from transformers import Seq2SeqTrainingArguments

    names = list(json.loads((out / "dataset_info.json").read_text()))
    data = DataArguments(dataset=",".join(names), dataset_dir=str(out), media_dir=str(out), overwrite_cache=True)
    model = ModelArguments(model_name_or_path="unused")
    training = Seq2SeqTrainingArguments(output_dir=str(out / "unused"), report_to=[])
    plugin = get_mm_plugin("intern_vl", image_token="<image>")
    figures = {"llamafactory": version("llamafactory"), "datasets": version("datasets")}
    for attributes in get_dataset_list(names, data.dataset_dir):
        rows = _load_single_dataset(attributes, model, data, training)
        source = json.loads((out / attributes.dataset_name).read_text())
        assert len(rows) == len(source) > 0
        sizes = set()
        for row, written in zip(rows, source, strict=True):
            ((ask,), (answer,)) = row["_prompt"], row["_response"]
            assert (ask["role"], answer["role"]) == ("user", "assistant")
            assert [ask["content"], answer["content"]] == [turn["value"] for turn in written["conversations"]]
            assert row["_images"] == [str(out / name) for name in written["images"]]
            assert ask["content"].count("<image>") == len(row["_images"]) == 1
            read = plugin._regularize_images(row["_images"], image_max_pixels=10**7, image_min_pixels=1)["images"]
            sizes.add(read[0].size)
        figures[attributes.dataset_name] = {
            "rows": len(rows),
            "image_sizes": sorted(sizes),
            "columns": rows.column_names,
        }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
