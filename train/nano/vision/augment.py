"""Pictures of faces as the tower is to meet them: whole crops, augmented ones, and ones in other light or focus.

Measurements change with the pixels; labels and models are unknown here.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from train.faces.measures import MEASUREMENTS

IMAGE_PX = 112
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as the pretrained tower expects


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) in 0..1 -> ImageNet-normalised."""
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (pixels - mean) / std


def augment(
    raw: torch.Tensor, mesh: torch.Tensor, rng: torch.Generator, strength: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (n, s, s, 3) and measurements (n, 13) -> pixels (n, 3, 112, 112) in 0..1 and the measurements that go
    with them: a flip mirrors yaw, roll and the eyes; a rotation adds to roll. Scale and shift vary enough for the
    crops of a detector, which are less well aligned than the sets."""
    count = len(raw)

    def uniform(low: float, high: float) -> torch.Tensor:
        middle = (low + high) / 2  # every range is symmetric about "no change"
        return middle + strength * (torch.rand(count, generator=rng) - 0.5) * (high - low)

    def chance(share: float) -> torch.Tensor:
        return torch.rand(count, generator=rng) < share * strength

    flip, angle, scale = (
        torch.rand(count, generator=rng) < 0.5,
        uniform(-10, 10) * chance(0.6),
        torch.exp(uniform(-0.22, 0.22)),
    )
    shift_x, shift_y = uniform(-0.12, 0.12), uniform(-0.12, 0.12)
    mirror = torch.where(flip, -1.0, 1.0)
    cos, sin = torch.cos(torch.deg2rad(angle)) * scale, torch.sin(torch.deg2rad(angle)) * scale
    affine = torch.stack(
        [torch.stack([cos * mirror, -sin * mirror, shift_x], 1), torch.stack([sin, cos, shift_y], 1)], 1
    )
    source = raw.permute(0, 3, 1, 2).float() / 255
    grid = F.affine_grid(affine, (count, 3, IMAGE_PX, IMAGE_PX), align_corners=False)
    pixels = F.grid_sample(source, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def per_image(values: torch.Tensor) -> torch.Tensor:
        return values.view(-1, 1, 1, 1)

    grey = pixels.mean(1, keepdim=True)
    keep_colour = torch.where(chance(0.1), torch.zeros(count), uniform(0.7, 1.3))
    pixels = grey + (pixels - grey) * per_image(keep_colour)
    pixels = (
        pixels
        * (1 + per_image(uniform(-0.1, 0.1)))
        * torch.stack([1 + uniform(-0.04, 0.04) for _ in range(3)], 1)[:, :, None, None]
    )
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - middle) * per_image(uniform(0.7, 1.3)) + middle + per_image(uniform(-0.12, 0.12))
    pixels = pixels.clamp(0, 1) ** per_image(torch.exp(uniform(-0.3, 0.3)))
    for side in (40, 64):  # phone photos of small faces, and blur
        chosen = chance(0.07).nonzero().squeeze(1)
        if len(chosen):
            small = F.interpolate(pixels[chosen], size=(side, side), mode="area")
            pixels[chosen] = F.interpolate(small, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", align_corners=False)
    noisy = chance(0.15)
    pixels = pixels + torch.randn(pixels.shape, generator=rng) * per_image(noisy * uniform(0.01, 0.05))
    pixels = pixels.clamp(0, 1)

    mesh = mesh.clone()
    left, right = MEASUREMENTS.index("eye_open_left"), MEASUREMENTS.index("eye_open_right")
    mesh[flip, 0] *= -1
    mesh[flip, 2] *= -1
    mesh[flip, left], mesh[flip, right] = mesh[flip, right].clone(), mesh[flip, left].clone()
    mesh[:, 2] -= angle * mirror
    return pixels, mesh


def retouch(raw: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """uint8 (n, s, s, 3) -> (n, 3, 112, 112) in 0..1: the whole crop, blurred or sharpened, darker, brighter or
    lit from one side: what good photos hardly show, and without which a decoder learns to call every picture good."""
    pixels, count = centre(raw), len(raw)
    light, focus = torch.randint(0, 4, (2, count), generator=rng)  # three changes, and none
    amount, coin = torch.rand(2, count, generator=rng)

    def per_image(chosen: torch.Tensor, values: torch.Tensor, otherwise: float) -> torch.Tensor:
        return torch.where(chosen, values, otherwise).view(-1, 1, 1, 1)

    pixels = pixels * per_image(light == 0, 0.3 + 0.4 * amount, 1.0)
    pixels = pixels ** per_image(light == 1, 0.3 + 0.3 * amount, 1.0)
    # One side two to five times as bright as the other.
    slope = per_image(light == 2, (0.35 + 0.3 * amount) * torch.where(coin < 0.5, -1.0, 1.0), 0.0)
    pixels = pixels * (1 + slope * torch.linspace(-1, 1, IMAGE_PX))
    for kind, side in ((0, 32), (1, 52)):
        rows = (focus == kind).nonzero().squeeze(1)
        if len(rows):
            small = F.interpolate(pixels[rows], size=(side, side), mode="area")
            pixels[rows] = F.interpolate(small, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", align_corners=False)
    rows = (focus == 2).nonzero().squeeze(1)
    if len(rows):  # unsharp masking
        soft = F.avg_pool2d(F.pad(pixels[rows], (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        pixels[rows] = pixels[rows] + 1.2 * (pixels[rows] - soft)
    return pixels.clamp(0, 1)


def erase(pixels: torch.Tensor, rng: torch.Generator, share: float = 0.25) -> torch.Tensor:
    """Fills one rectangle of a share of the images with a colour (random erasing, Zhong et al. 2020)."""
    for index in (torch.rand(len(pixels), generator=rng) < share).nonzero().squeeze(1).tolist():
        height, width = (torch.randint(14, 44, (2,), generator=rng)).tolist()
        top = int(torch.randint(0, IMAGE_PX - height, (1,), generator=rng))
        left = int(torch.randint(0, IMAGE_PX - width, (1,), generator=rng))
        pixels[index, :, top : top + height, left : left + width] = torch.rand((3, 1, 1), generator=rng)
    return pixels


def centre(raw: torch.Tensor) -> torch.Tensor:
    """uint8 (n, 144, 144, 3) -> (n, 3, 112, 112) in 0..1, the whole crop."""
    return F.interpolate(
        raw.permute(0, 3, 1, 2).float() / 255, size=(IMAGE_PX, IMAGE_PX), mode="bilinear", antialias=True
    )
