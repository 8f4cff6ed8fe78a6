"""Slow formulas, written independently of the library, that its results are held against."""

from collections.abc import Callable
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
        used = torch.ones_like(grad, dtype=torch.bool)
        if name.startswith("fc"):
            number = int(name[2 : name.index(".")])
            if number <= len(kept):
                used &= torch.isin(torch.arange(len(grad)), kept[number - 1]).view(
                    -1, *[1] * (grad.dim() - 1)
                )
            if number > 1 and grad.dim() == 2:
                used &= torch.isin(torch.arange(grad.shape[1]), kept[number - 2])
        grad = grad + l2 * tensors[name] * used
        sums[name] += grad**2
        tensors[name] -= lr * grad / (sums[name].sqrt() + 1e-10)
    return float(loss.detach())


def varied(spectra: Array, amounts: dict[str, float], seed: int) -> Array:
    """Warp, shift, stretch and scale spectra (N, F, T), one output value at a time."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    count, bins, frames = spectra.shape
    even = (torch.rand(4, count, 1, generator=generator) * 2 - 1).double().numpy()[..., 0]
    level = torch.randn(count, generator=generator).double().numpy()

    def at(item: int, f: float, t: float) -> float:
        f = min(max(f, 0.0), bins - 1.0)
        total = 0.0
        for i in range(bins):
            for j in range(frames):
                total += max(0.0, 1 - abs(f - i)) * max(0.0, 1 - abs(t - j)) * spectra[item, i, j]
        return total

    out = np.zeros(spectra.shape)
    middle = (frames - 1) / 2
    for item in range(count):
        for i in range(bins):
            for j in range(frames):
                f = i * (1 + amounts.get("warp", 0) * even[0, item])
                t = middle + (j - middle) * (1 + amounts.get("stretch", 0) * even[2, item])
                f += amounts.get("bins", 0) * even[1, item]
                t += amounts.get("frames", 0) * even[3, item]
                out[item, i, j] = np.exp(amounts.get("gain", 0) * level[item]) * at(item, f, t)
    return out


# Reconstruction


def adagrad(gradients: Array, rate: float) -> Array:
    """Duchi et al. 2011 from 0: every step divided by the root of the squares so far."""
    x = np.zeros(gradients.shape[1:])
    visited = [x]
    for step in range(len(gradients)):
        total = np.sqrt(np.sum(gradients[: step + 1] ** 2, axis=0))
        x = x - rate * gradients[step] / (total + 1e-8)
        visited.append(x)
    return np.array(visited)


def adam(gradients: Array, rate: float) -> Array:
    """Kingma & Ba 2015 from 0, the running means written out as weighted sums."""
    x = np.zeros(gradients.shape[1:])
    visited = [x]
    for t in range(1, len(gradients) + 1):
        ages = np.arange(t)[::-1].reshape(-1, *(1 for _ in x.shape))
        first = np.sum(0.1 * 0.9**ages * gradients[:t], axis=0) / (1 - 0.9**t)
        second = np.sum(0.001 * 0.999**ages * gradients[:t] ** 2, axis=0) / (1 - 0.999**t)
        x = x - rate * first / (np.sqrt(second) + 1e-8)
        visited.append(x)
    return np.array(visited)


def lbfgs_direction(s: Array, y: Array, gradient: Array) -> Array:
    """−H g with H updated pair by pair as a dense matrix (Nocedal & Wright 2006, eq. 7.16)."""
    size = len(gradient)
    h = np.eye(size) * (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for a, b in zip(s, y, strict=True):
        rho = 1 / (a @ b)
        v = np.eye(size) - rho * np.outer(b, a)
        h = v.T @ h @ v + rho * np.outer(a, a)
    direction: Array = -h @ gradient
    return direction


def log_spectral_distance(first: Array, second: Array, size: int, hop: int, depth: float) -> float:
    """Gray & Markel 1976 frame by frame, levels floored and brought to one mean."""
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))
    levels = []
    for wave in (first, second):
        power = [
            np.abs(np.fft.rfft(taper * wave[start : start + size])) ** 2
            for start in range(0, len(wave) - size + 1, hop)
        ]
        top = max(p.max() for p in power)
        levels.append(
            [10 * np.log10(np.maximum(p, top * 10 ** (-depth / 10)) / top) for p in power]
        )
    heard = [t for t, level in enumerate(levels[0]) if (level > -depth + 1e-6).any()]
    shift = np.mean([np.mean(levels[0][t]) - np.mean(levels[1][t]) for t in heard])
    return float(
        np.mean([np.sqrt(np.mean((levels[0][t] - levels[1][t] - shift) ** 2)) for t in heard])
    )


# Classifiers of all five papers, and the letter network.


def strided_layer(
    x: Array, weight: Array, bias: Array, stride: tuple[int, int], pads: tuple[int, int, int, int]
) -> Array:
    """Convolution of (C, F, T) with (maps, C, kf, kt), position by position."""
    x = np.pad(x, ((0, 0), pads[:2], pads[2:]))
    maps, _, kf, kt = weight.shape
    out = []
    for f in range(0, x.shape[1] - kf + 1, stride[0]):
        row = []
        for t in range(0, x.shape[2] - kt + 1, stride[1]):
            patch = x[:, f : f + kf, t : t + kt]
            row.append([np.sum(patch * weight[m]) + bias[m] for m in range(maps)])
        out.append(row)
    return np.array(out).transpose(2, 0, 1)


def region_maximum(x: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Max-pooling of (C, F, T), region by region."""
    out = [
        [
            x[:, f : f + size[0], t : t + size[1]].max((1, 2))
            for t in range(0, x.shape[2] - size[1] + 1, stride[1])
        ]
        for f in range(0, x.shape[1] - size[0] + 1, stride[0])
    ]
    return np.array(out).transpose(2, 0, 1)


def ctc_negative_log(probabilities: Array, labels: list[int], blank: int) -> float:
    """−log Σ over every path (outputs ** steps of them) that collapses to the labels.

    `probabilities` is (steps, outputs), rows summing to 1.
    """
    from itertools import product

    steps, outputs = probabilities.shape
    total = 0.0
    for path in product(range(outputs), repeat=steps):
        if collapsed(list(path), blank) == labels:
            total += float(np.prod([probabilities[t, k] for t, k in enumerate(path)]))
    return float(-np.log(total))


def ctc_forward(probabilities: Array, labels: list[int], blank: int) -> float:
    """−log p(labels) by the forward variables α of Graves et al. (2006), sec. 4.1, one by one."""
    wanted = [blank]
    for label in labels:
        wanted += [label, blank]
    alpha = [0.0] * len(wanted)
    alpha[0] = probabilities[0, blank]
    if labels:
        alpha[1] = probabilities[0, labels[0]]
    for t in range(1, len(probabilities)):
        after = []
        for s, symbol in enumerate(wanted):
            total = alpha[s]
            if s >= 1:
                total += alpha[s - 1]
            if s >= 2 and symbol != blank and symbol != wanted[s - 2]:
                total += alpha[s - 2]
            after.append(total * probabilities[t, symbol])
        alpha = after
    return float(-np.log(sum(alpha[-2:])))


def collapsed(path: list[int], blank: int) -> list[int]:
    """Repeated outputs merged, then blanks dropped."""
    merged = [k for t, k in enumerate(path) if t == 0 or k != path[t - 1]]
    return [k for k in merged if k != blank]


def edits(first: str, second: str) -> int:
    """Levenshtein distance by its recursive definition."""
    from functools import cache

    @cache
    def least(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            least(i - 1, j) + 1,
            least(i, j - 1) + 1,
            least(i - 1, j - 1) + (first[i - 1] != second[j - 1]),
        )

    return least(len(first), len(second))


def batch_normalised(x: Array, frames: list[int], gain: Array, bias: Array, eps: float) -> Array:
    """Batch normalisation of (B, C, T) by the mean and variance of each item's first frames."""
    out = np.zeros_like(x)
    for c in range(x.shape[1]):
        values = np.concatenate([x[b, c, :n] for b, n in enumerate(frames)])
        mean, variance = values.mean(), values.var()
        out[:, c] = gain[c] * (x[:, c] - mean) / np.sqrt(variance + eps) + bias[c]
    return out


# Representations of a signal, frame by frame and band by band.


def mel_triangles(bands: int, points: int, rate: int) -> Array:
    """Triangles on the mel scale, (bins, bands), each by its two flanks."""

    def mel(hertz: float) -> float:
        return 1127.0 * float(np.log1p(hertz / 700.0))  # the other way to write the same scale

    edges = [mel(rate / 2) * b / (bands + 1) for b in range(bands + 2)]
    out = np.zeros((points // 2 + 1, bands))
    for k in range(points // 2 + 1):
        here = mel(k * rate / points)
        for b in range(bands):
            left, peak, right = edges[b : b + 3]
            if left < here <= peak:
                out[k, b] = (here - left) / (peak - left)
            elif peak < here < right:
                out[k, b] = (right - here) / (right - peak)
    return out


def cosine_transform(values: Array, count: int) -> Array:
    """First `count` coefficients of the orthonormal DCT-II of (…, B), one sum each."""
    size = values.shape[-1]
    out = np.zeros((*values.shape[:-1], count))
    for q in range(count):
        norm = np.sqrt((1 if q == 0 else 2) / size)
        for b in range(size):
            out[..., q] += norm * values[..., b] * np.cos(np.pi * q * (2 * b + 1) / (2 * size))
    return out


def regression(values: Array, reach: int) -> Array:
    """Slope of the least-squares line through 2 reach + 1 frames of (frames,), ends repeated."""
    frames = len(values)
    offsets = list(range(-reach, reach + 1))
    slopes = []
    for t in range(frames):
        around = [values[min(max(t + offset, 0), frames - 1)] for offset in offsets]
        slopes.append(np.polyfit(offsets, around, 1)[0])
    return np.array(slopes)


def gammatonogram(signal: Array, window: int, hop: int, frequencies: Array, rate: int) -> Array:
    """Gammatone filters by convolution, rectified, averaged over frames, cube root: (frames, B)."""
    t = np.arange(round(0.128 * rate)) / rate
    n = np.arange(window)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * n / (window - 1))
    columns = []
    for f in frequencies:
        bandwidth = 1.019 * 24.7 * (4.37 * f / 1000 + 1)
        response = t**3 * np.exp(-2 * np.pi * bandwidth * t) * np.cos(2 * np.pi * f * t)
        real = np.sum(response * np.cos(2 * np.pi * f * t))
        imaginary = np.sum(response * np.sin(2 * np.pi * f * t))
        response /= np.sqrt(real**2 + imaginary**2)
        motion = np.convolve(signal.astype(float), response)[: len(signal)]
        rectified = np.where(motion > 0, motion, 0)
        starts = range(0, len(signal) - window + 1, hop)
        means = [np.sum(taper * rectified[s : s + window]) / np.sum(taper) for s in starts]
        columns.append(np.cbrt(means))
    return np.stack(columns, axis=1)


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


# Relevance.


def krug_dense(
    x: Array,
    layers: list[tuple[Array, Array, Array, Array]],
    target: int,
    epsilon: float,
) -> Array:
    """LRP of Krug 2018, eq. 3 and 4, through dense layers of (weight, bias, factor, shift).

    bn(z) = factor z + shift, then a ReLU but after the last layer; every step is divided by its
    largest magnitude.
    """
    inputs, outputs, normed = [], [], []
    for number, (weight, bias, factor, shift) in enumerate(layers):
        inputs.append(x)
        z = weight @ x + bias
        outputs.append(z)
        y = factor * z + shift
        normed.append(y)
        x = y if number == len(layers) - 1 else np.maximum(y, 0)
    relevance = np.zeros(len(x))
    relevance[target] = 1.0
    for number in range(len(layers) - 1, -1, -1):
        weight = layers[number][0]
        handed = np.zeros(len(inputs[number]))
        for i in range(len(handed)):
            for j in range(len(relevance)):
                local = weight[j, i] * inputs[number][i]
                ratio = local / (abs(outputs[number][j]) + epsilon) * np.sign(normed[number][j])
                handed[i] += ratio * relevance[j]
        relevance = handed / np.abs(handed).max()
    return relevance


def lrp_dense(
    x: Array, layers: list[tuple[Array, Array]], target: int, alpha: float | None
) -> list[Array]:
    """Relevance of what enters each of some dense layers (weight, bias) with ReLUs between.

    Bach et al. (2015), eq. 58 (ε towards 0), or with α eq. 60, a bias taking its share of the
    contributions of its own sign.
    """
    inputs = []
    for weight, bias in layers:
        inputs.append(x)
        z = weight @ x + bias
        x = np.maximum(z, 0)
    relevance = np.zeros(len(z))
    relevance[target] = z[target]
    found = []
    for (weight, bias), entered in zip(layers[::-1], inputs[::-1], strict=True):
        handed = np.zeros(len(entered))
        for j in range(len(relevance)):
            parts = weight[j] * entered
            above = sum(p for p in parts if p > 0) + max(bias[j], 0)
            below = sum(p for p in parts if p < 0) + min(bias[j], 0)
            for i, part in enumerate(parts):
                if alpha is None:
                    handed[i] += part / (above + below) * relevance[j]
                elif part > 0:
                    handed[i] += alpha * part / above * relevance[j]
                elif part < 0:
                    handed[i] += (1 - alpha) * part / below * relevance[j]
        relevance = handed
        found.append(handed)
    return found[::-1]


def convolution_as_dense(weight: Array, bias: Array, length: int) -> tuple[Array, Array]:
    """One-dimensional convolution (filters, channels, taps) without padding, as a matrix."""
    filters, channels, taps = weight.shape
    places = length - taps + 1
    matrix = np.zeros((filters, places, channels, length))
    for place in range(places):
        for tap in range(taps):
            matrix[:, place, :, place + tap] = weight[:, :, tap]
    return matrix.reshape(filters * places, -1), np.repeat(bias, places)


def occluded(score: Callable[[Array], float], x: Array, size: int, stride: int) -> Array:
    """Mean loss of the score over the windows of a sequence (n,) that hide each value."""
    starts = list(range(0, len(x) - size + 1, stride))
    if starts[-1] + size < len(x):
        starts.append(len(x) - size)
    out = np.zeros(len(x))
    for i in range(len(x)):
        losses = []
        for start in starts:
            if start <= i < start + size:
                hidden = x.copy()
                hidden[start : start + size] = 0
                losses.append(score(x) - score(hidden))
        out[i] = np.mean(losses)
    return out


def inverse_dft(f: Array) -> "np.ndarray[tuple[int, ...], np.dtype[np.complex128]]":
    """1/N Σ_n f[n] e^{i 2π k n / N} for every k (Muckenhirn 2019, eq. 3)."""
    n = len(f)
    return np.array(
        [sum(f[t] * np.exp(2j * np.pi * k * t / n) for t in range(n)) / n for k in range(n)]
    )


def navai_mean(inputs: Array, targets: list[int], chosen: list[int], wanted: int) -> Array:
    """Krug 2018, sec. 3.5 and 3.6, of inputs (N, C, F, T): each is cropped with a list's slices.

    `chosen` is the frame each is centred on; the mean is over the inputs of one class.
    """
    frames = inputs.shape[3]
    total, count = np.zeros(inputs.shape[1:]), 0
    for values, target, frame in zip(inputs, targets, chosen, strict=True):
        if target != wanted:
            continue
        left, right = frame, frames - frame
        # One frame after another, until as many are on either side as in the whole input.
        while right - left != frames - 2 * (frames // 2):
            if right - left < frames - 2 * (frames // 2):
                left -= 1
            elif right > 1:
                right -= 1
            else:
                break
        cropped = values[:, :, frame - left : frame + right]
        start = frames // 2 - left
        total[:, :, start : start + cropped.shape[2]] += cropped
        count += 1
    return total / count


def manhattan_lloyd(points: Array, centres: Array) -> tuple[Array, Array]:
    """k-means with medians: every distance every time, one at a time, until nothing changes."""
    centres = centres.astype(float).copy()
    labels = np.full(len(points), -1)
    while True:
        new = np.array(
            [int(np.argmin([sum(abs(p - c)) for c in centres])) for p in points.astype(float)]
        )
        if (new == labels).all():
            return labels, centres
        labels = new
        for k in range(len(centres)):
            if (labels == k).any():
                centres[k] = np.median(points[labels == k], axis=0)


def normalised_affinity(points: Array) -> tuple[Array, Array]:
    """Gaussian affinity of a width that follows the data, and D^-1/2 A D^-1/2, pair by pair."""
    n, p = points.shape
    distance = np.array([[np.sqrt(sum((a - b) ** 2)) for b in points] for a in points])
    radius = distance.max() / n ** (1 / p) / 2
    weights = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                weights[i, j] = np.exp(-(distance[i, j] ** 2) / radius**2)
    degree = weights.sum(axis=1)
    out = np.array(
        [[weights[i, j] / np.sqrt(degree[i] * degree[j]) for j in range(n)] for i in range(n)]
    )
    return weights, out


def independence(first: Array, second: Array) -> float:
    """The unbiased estimate of HSIC as a U-statistic over sets of four different samples.

    Song et al. 2012, eq. 4: the mean of k_ij (l_ij + l_qr - 2 l_iq).
    """
    n = len(first)
    total, count = 0.0, 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += first[i, j] * (second[i, j] + second[q, r] - 2 * second[i, q])
                        count += 1
    return total / count


def clusters_as_phones(clusters: Array, labels: Array) -> tuple[float, float]:
    """Mean precision and recall of phones, each sample being taken for its cluster's phone."""
    phone_of = {}
    for cluster in set(clusters.tolist()):
        inside = labels[clusters == cluster].tolist()
        phone_of[cluster] = min(set(inside), key=lambda phone: (-inside.count(phone), phone))
    guess = np.array([phone_of[cluster] for cluster in clusters.tolist()])
    precision, recall = [], []
    for phone in sorted(set(labels.tolist())):
        hits = ((guess == phone) & (labels == phone)).sum()
        precision.append(hits / (guess == phone).sum() if (guess == phone).any() else 0.0)
        recall.append(hits / (labels == phone).sum())
    return float(np.mean(precision)), float(np.mean(recall))
