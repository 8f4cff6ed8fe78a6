"""Training inputs varied at random: other voices, other speeds, other levels, noise.

Churchman 2015, sec. 8.2, names this as a remedy for overfitting ("phone classes are invariant
over small pitch shifts … slightly shifting pitches") and did not try it. Off unless asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Draws:
    """What was drawn for a batch: positions to read, factors, seeds of noise.

    Parameters
    ----------
    frequency, time
        Where each output bin (B, F) and frame (B, T) is read from, in bins and frames.
    level
        Factors (B,).
    seeds
        Of each item's noise (B,).
    """

    frequency: Tensor
    time: Tensor
    level: Tensor
    seeds: Tensor

    def part(self, items: slice) -> "Draws":
        """Return what was drawn for some of the items."""
        return Draws(self.frequency[items], self.time[items], self.level[items], self.seeds[items])


def draw(
    amounts: Mapping[str, float], count: int, shape: tuple[int, ...], generator: torch.Generator
) -> Draws:
    """Draw for a batch of `count` items of `shape` (C, F, T); on the CPU.

    Frequencies a f + b and times t₀ + c (t − t₀) + d, t₀ the middle; factors exp(gain · n).

    Parameters
    ----------
    amounts
        ``warp``, the largest relative change of the frequency axis, as of another vocal tract;
        ``bins``, the largest shift in frequency [bins]; ``stretch``, the largest relative change
        of the time axis, about the middle; ``frames``, the largest shift in time [frames];
        ``gain``, the standard deviation of the logarithm of a factor on the input; ``noise``, that
        of white noise, as a share of the item's root mean square. One not given is 0.
    count, shape, generator
        As said.
    """
    warp, shift, stretch, delay, gain, noise = (
        amounts.get(name, 0.0) for name in ("warp", "bins", "stretch", "frames", "gain", "noise")
    )
    _, bins, frames = shape
    even = torch.rand(4, count, 1, generator=generator) * 2 - 1
    level = torch.randn(count, generator=generator) * gain
    seeds = torch.randint(2**62, (count,), generator=generator) if noise else level
    frequency = torch.arange(bins) * (1 + warp * even[0]) + shift * even[1]
    middle = (frames - 1) / 2
    time = (torch.arange(frames) - middle) * (1 + stretch * even[2]) + middle
    return Draws(frequency, time + delay * even[3], level.exp(), seeds)


def apply(x: Tensor, mean: Tensor, draws: Draws, noise: float = 0.0) -> Tensor:
    """Return varied inputs.

    y(f, t) = g · s(f', t') + noise − mean, s = x + mean, read at the drawn places f', t' by
    linear interpolation; s is 0, silence, before and after the item, and repeats its edges
    in frequency.

    Parameters
    ----------
    x
        Centred inputs (B, C, F, T), of a representation in which silence is 0.
    mean
        The mean that was removed, (C, F, T).
    draws
        From `draw`, for these items.
    noise
        The amount of noise.
    """
    _, _, bins, frames = x.shape
    # grid_sample measures from -1, the first position, to 1, the last.
    down = draws.frequency.clamp(0, bins - 1) * (2 / max(bins - 1, 1)) - 1
    along = draws.time * (2 / max(frames - 1, 1)) - 1
    grid = torch.stack(
        (along[:, None, :].expand(-1, bins, -1), down[:, :, None].expand(-1, -1, frames)),
        dim=-1,
    ).to(x)
    varied = functional.grid_sample(x + mean, grid, padding_mode="zeros", align_corners=True)
    varied *= draws.level.to(x)[:, None, None, None]
    if noise:
        for item, seed in zip(varied, draws.seeds.tolist(), strict=True):
            white = torch.randn(item.shape, generator=torch.Generator().manual_seed(seed))
            item.add_(white.to(x), alpha=float(noise * item.square().mean().sqrt()))
    return varied - mean
