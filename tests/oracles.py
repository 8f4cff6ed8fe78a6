"""Slow formulas, written independently of the library, that its results are held against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def stft(segments: Array, window: int, hop: int, points: int) -> Array:
    """Fourier transform of every frame by definition, one sum at a time over exp(-2πi kn/N)."""
    n = np.arange(window)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * n / (window - 1))
    bins = np.arange(points // 2 + 1)
    kernel = np.exp(-2j * np.pi * np.outer(bins, n) / points)
    frames = (segments.shape[1] - window) // hop + 1
    out = np.zeros((len(segments), len(bins), frames), dtype=complex)
    for item, segment in enumerate(segments.astype(float)):
        for frame in range(frames):
            out[item, :, frame] = kernel @ (taper * segment[frame * hop : frame * hop + window])
    return out


def overlap_add(spectra: Array, window: int, hop: int, points: int, samples: int) -> Array:
    """Inverse of real spectra: irfft of each frame, windowed, summed, over the squared windows."""
    n = np.arange(window)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * n / (window - 1))
    out = np.zeros((len(spectra), samples))
    for item, spectrum in enumerate(spectra.astype(float)):
        total = np.zeros(samples)
        for frame in range(spectrum.shape[1]):
            piece = np.fft.irfft(spectrum[:, frame], points)[:window]
            start = frame * hop
            out[item, start : start + window] += taper * piece
            total[start : start + window] += taper**2
        out[item] /= np.where(total > 0, total, 1)
    return out


def cross_correlation_peak(first: Array, second: Array) -> float:
    """Largest normalised cross-correlation over every lag, one dot product a lag."""
    best = -np.inf
    for lag in range(-len(first) + 1, len(second)):
        total = 0.0
        for n in range(len(first)):
            if 0 <= n + lag < len(second):
                total += first[n] * second[n + lag]
        best = max(best, total)
    return float(best) / float(np.sqrt(np.sum(first**2)) * np.sqrt(np.sum(second**2)))


def blind_unpooling(
    pooled: Array, size: tuple[int, int], stride: tuple[int, int], shape: tuple[int, int]
) -> Array:
    """Riemens 2015, B.8.3, element by element, of (F, T); orphans take the nearest region's."""
    out = np.zeros(shape)
    for f in range(shape[0]):
        for t in range(shape[1]):
            per_axis = []
            for element, axis in ((f, 0), (t, 1)):
                regions = range(pooled.shape[axis])
                starts = [i * stride[axis] for i in regions]
                inside = [i for i in regions if starts[i] <= element < starts[i] + size[axis]]
                gaps = [
                    max(starts[i] - element, element - (starts[i] + size[axis] - 1))
                    for i in regions
                ]
                per_axis.append(inside or [gaps.index(min(gaps))])
            values = [pooled[i, j] for i in per_axis[0] for j in per_axis[1]]
            out[f, t] = sum(values) / len(values)
    return out


def convolution(x: Array, weight: Array, pads: tuple[int, int, int, int]) -> Array:
    """Convolution (Churchman 2015, sec. 2.1.1) of (C, F, T) with (maps, C, kf, kt), by loops."""
    x = np.pad(x, ((0, 0), pads[:2], pads[2:]))
    maps, _, kf, kt = weight.shape
    out = np.zeros((maps, x.shape[1] - kf + 1, x.shape[2] - kt + 1))
    for m in range(maps):
        for f in range(out.shape[1]):
            for t in range(out.shape[2]):
                out[m, f, t] = np.sum(x[:, f : f + kf, t : t + kt] * weight[m])
    return out


def bold_driver(
    errors: list[float], rate: float, up: float, down: float, stop: float
) -> tuple[list[float], int]:
    """Learning rates after each error, and how many there are before the factor falls below stop.

    Churchman 2015, sec. 6.4.2, for one item.
    """
    factor, rates, previous = 1.0, [], None
    for error in errors:
        if previous is not None and error < previous:
            factor = factor * up
        elif previous is not None and error > previous:
            factor = factor * down
        if factor < stop:
            break
        rates.append(rate * factor)
        previous = error
    return rates, len(rates)


def resampled_counts(members: int, wanted: int) -> list[int]:
    """How often each member of a class is taken, sorted: Churchman 2015, sec. 3.3, literally."""
    counts = [0] * members
    left = wanted if members else 0
    while members and left >= members:
        for member in range(members):
            counts[member] += 1
        left -= members
    for member in range(left):
        counts[member] += 1
    return sorted(count for count in counts if count)


def thinned_step(
    tensors: dict[str, Any], x: Any, wanted: Any, kept: list[Any], lr: float, l2: float, sums: Any
) -> float:
    """One AdaGrad step of freq-overlap's kind of network with whole units left out, in place.

    `tensors` by name ("conv1.weight", …) require no gradient; `kept` are the units left in after
    each fully connected layer but the last. Everything by plain layers and automatic derivatives.
    """
    import torch
    from torch.nn import functional

    leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
    h = x
    number = 1
    while f"conv{number}.weight" in leaves:
        weight = leaves[f"conv{number}.weight"]
        windows = h.unfold(2, weight.shape[2], 1).unfold(3, weight.shape[3], 1)
        h = torch.einsum("bcftij,mcij->bmft", windows, weight)
        h = torch.relu(h + leaves[f"conv{number}.bias"][:, None, None])
        h = functional.max_pool2d(h, (5, 1), (2, 1))
        number += 1
    h = h.flatten(1)
    for index, units in enumerate([*kept, None], start=1):
        h = h @ leaves[f"fc{index}.weight"].T + leaves[f"fc{index}.bias"]
        if units is not None:
            mask = torch.zeros_like(h)
            mask[:, units] = h.shape[1] / len(units)
            h = torch.relu(h) * mask
    loss = functional.cross_entropy(h, wanted)
    for name, grad in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
        grad = grad + l2 * tensors[name]
        sums[name] += grad**2
        tensors[name] -= lr * grad / (sums[name].sqrt() + 1e-10)
    return float(loss.detach())


# Autoencoders


def pooling_switches(x: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Riemens 2015, B.8.2: (f, t) of the maximum of every region of x (F, T); [regions, 2]."""
    regions = [(x.shape[a] - size[a]) // stride[a] + 1 for a in (0, 1)]
    out = np.zeros((*regions, 2), dtype=int)
    for i in range(regions[0]):
        for j in range(regions[1]):
            f, t = i * stride[0], j * stride[1]
            region = x[f : f + size[0], t : t + size[1]]
            highest = np.argwhere(region == region.max())[0]
            out[i, j] = f + highest[0], t + highest[1]
    return out


def switch_unpooling(pooled: Array, switches: Array, shape: tuple[int, int]) -> Array:
    """Riemens 2015, B.8.2: values (H, W) written where the switches say, zeros elsewhere."""
    out = np.zeros(shape)
    for i in range(pooled.shape[0]):
        for j in range(pooled.shape[1]):
            f, t = switches[i, j]
            out[f, t] = pooled[i, j]
    return out


def autoencoder_gradients(
    tensors: dict[str, Any], x: Any, size: tuple[int, int], stride: tuple[int, int], pads: Any
) -> dict[str, Any]:
    """∂/∂w of ½ ‖X − X′‖² of a one-unit autoencoder with switches and tied weights, summed.

    `tensors` are "weight" (maps, C, kf, kt) and the biases "encoder" (maps,), "decoder" (C,);
    `pads` those of the encoder. Plain layers and automatic derivatives, unpooling by loops.
    """
    import torch
    from torch.nn import functional

    leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
    weight = leaves["weight"]
    top, bottom, left, right = pads
    kf, kt = weight.shape[2:]
    maps = functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight)
    maps = maps + leaves["encoder"][:, None, None]
    spread = torch.zeros_like(maps)
    for b in range(maps.shape[0]):
        for m in range(maps.shape[1]):
            where = pooling_switches(maps[b, m].detach().numpy(), size, stride)
            for f, t in where.reshape(-1, 2):
                spread[b, m, f, t] = torch.relu(maps[b, m, f, t])
    # The transpose of a convolution is its derivative by the input, cut to the input's size.
    full = functional.conv_transpose2d(spread, weight)
    restored = full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]
    assert restored.shape == x.shape and kf - 1 >= max(top, bottom) and kt - 1 >= max(left, right)
    restored = restored + leaves["decoder"][:, None, None]
    loss = 0.5 * ((restored - x) ** 2).sum()
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
