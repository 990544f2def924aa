"""Pictures of faces as the tower is to meet them, at any input size.

A `View` also says how its pictures were turned, so that what is known of a face can be turned with them. Nano's
`train.nano.vision.augment` is bound to 112 px; its normalisation is used as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from train.faces.measures import pixel_stats

ZOOM_ROOM = 1.28  # a crop is brought to this many times the input's side before it is turned: bilinear sampling aliases
STATS_PX = 112  # pixel statistics are taken at one size, so that sharpness means the same at every input size


@dataclass(frozen=True)
class View:
    """pixels: float32 (n, 3, side, side) in 0..1.  flip: bool (n,), mirrored.  angle: degrees (n,), turned by."""

    pixels: torch.Tensor
    flip: torch.Tensor
    angle: torch.Tensor

    def __getitem__(self, part: slice) -> View:
        return View(self.pixels[part], self.flip[part], self.angle[part])

    def stats(self) -> torch.Tensor:
        """(n, 5) pixel statistics, `train.nano.vision.augment.PIXEL_STATS`."""
        if self.pixels.shape[-1] == STATS_PX:
            return pixel_stats(self.pixels)
        return pixel_stats(_resized(self.pixels, STATS_PX))


class Draws:
    """Random numbers for one batch; every range is symmetric about "no change" and shrinks with the strength."""

    def __init__(self, count: int, strength: float, rng: torch.Generator) -> None:
        self.count, self.strength, self.rng = count, strength, rng

    def uniform(self, reach: float, middle: float = 0.0) -> torch.Tensor:
        """(n,) values in `middle` +- `reach`."""
        return middle + self.strength * (2 * torch.rand(self.count, generator=self.rng) - 1) * reach

    def chance(self, share: float) -> torch.Tensor:
        """(n,) True for a share of the batch."""
        return torch.rand(self.count, generator=self.rng) < share * self.strength


def whole(raw: torch.Tensor, side: int) -> View:
    """uint8 (n, s, s, 3) -> the untouched crops at `side`."""
    pixels = _resized(raw.permute(0, 3, 1, 2).float() / 255, side)
    return View(pixels, torch.zeros(len(raw), dtype=torch.bool), torch.zeros(len(raw)))


def augmented(raw: torch.Tensor, side: int, rng: torch.Generator, strength: float = 1.0) -> View:
    """uint8 (n, s, s, 3) -> crops at `side`, mirrored, turned, zoomed, shifted, recoloured and spoilt at random. Zoom
    and shift vary enough for the crops of a detector, which are less well aligned than the sets."""
    draws = Draws(len(raw), strength, rng)
    pixels, flip, angle = _turned(raw.permute(0, 3, 1, 2).float() / 255, side, draws)
    return View(_erased(_spoilt(_recoloured(pixels, draws), draws), draws), flip, angle)


def _resized(pixels: torch.Tensor, side: int) -> torch.Tensor:
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def _turned(pixels: torch.Tensor, side: int, draws: Draws) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    room = round(side * ZOOM_ROOM)
    if room < pixels.shape[-1]:
        pixels = _resized(pixels, room)
    flip = torch.rand(draws.count, generator=draws.rng) < 0.5
    angle = draws.uniform(10) * draws.chance(0.6)
    scale = torch.exp(draws.uniform(0.2))
    mirror = torch.where(flip, -1.0, 1.0)
    cos, sin = torch.cos(torch.deg2rad(angle)) * scale, torch.sin(torch.deg2rad(angle)) * scale
    across = torch.stack([cos * mirror, -sin * mirror, draws.uniform(0.1)], 1)
    down = torch.stack([sin, cos, draws.uniform(0.1)], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [draws.count, 3, side, side], align_corners=False)
    turned = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return turned, flip, angle * mirror


def _recoloured(pixels: torch.Tensor, draws: Draws) -> torch.Tensor:
    grey = pixels.mean(1, keepdim=True)
    saturation = torch.where(draws.chance(0.08), torch.zeros(draws.count), draws.uniform(0.25, 1.0))
    pixels = grey + (pixels - grey) * _per_image(saturation)
    tint = torch.stack([1 + draws.uniform(0.04) for _ in range(3)], 1)[:, :, None, None]
    pixels = pixels * tint * _per_image(draws.uniform(0.1, 1.0))
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - middle) * _per_image(draws.uniform(0.25, 1.0)) + middle + _per_image(draws.uniform(0.1))
    return pixels.clamp(0, 1) ** _per_image(torch.exp(draws.uniform(0.25)))


def _spoilt(pixels: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Small or blurred photos, and noise."""
    side = pixels.shape[-1]
    for small in (40, 64):
        chosen = draws.chance(0.06).nonzero().squeeze(1)
        if len(chosen):
            shrunk = F.interpolate(pixels[chosen], size=(small, small), mode="area")
            pixels[chosen] = F.interpolate(shrunk, size=(side, side), mode="bilinear", align_corners=False)
    noise = torch.randn(pixels.shape, generator=draws.rng)
    amount = draws.chance(0.12) * (0.01 + 0.03 * torch.rand(draws.count, generator=draws.rng))
    return (pixels + noise * _per_image(amount)).clamp(0, 1)


def _erased(pixels: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Fills a rectangle of some images with one colour (random erasing, Zhong et al. 2020)."""
    side = pixels.shape[-1]
    for row in draws.chance(0.2).nonzero().squeeze(1).tolist():
        height, width = torch.randint(side // 8, side * 3 // 8, (2,), generator=draws.rng).tolist()
        top = int(torch.randint(0, side - height, (1,), generator=draws.rng))
        left = int(torch.randint(0, side - width, (1,), generator=draws.rng))
        pixels[row, :, top : top + height, left : left + width] = torch.rand((3, 1, 1), generator=draws.rng)
    return pixels
