"""Inverses of pooling and convolution: blind and switch unpooling, the convolution transpose."""

import torch
from torch import Tensor
from torch.nn import functional


def region_weights(size: int, stride: int, length: int) -> Tensor:
    """Return the matrix (length, regions) that averages the regions each element belongs to.

    weights[e, i] = 1 / #P(e) where element e lies in region i, P(e) = {i : i·stride ≤ e < i·stride
    + size}. Riemens 2015, B.8.3 assumes that every element belonged to a region. Elements past the
    last whole region (or between regions) belonged to none; they take the value of the nearest
    region, the earlier one of two equally near.

    Source: Riemens 2015, B.8.3, along one axis.
    """
    regions = (length - size) // stride + 1
    elements = torch.arange(length)[:, None]
    first = torch.arange(regions)[None, :] * stride
    # Elements between e and the region, 0 inside it.
    distance = torch.maximum(first - elements, elements - (first + size - 1)).clamp(min=0)
    nearest = torch.zeros_like(distance).scatter_(1, distance.argmin(1, keepdim=True), 1)
    member = torch.where((distance == 0).any(1, keepdim=True), distance == 0, nearest == 1)
    return member / member.sum(1, keepdim=True)


class BlindUnpooling(torch.nn.Module):
    """Blind unpooling over frequency and time.

    Y[i', j'] = (1 / (#P(i') #Q(j'))) Σ_{i ∈ P(i')} Σ_{j ∈ Q(j')} X[i, j]: each element takes the
    average of the maxima of all regions it belongs to. Source: Riemens 2015, B.8.3; Churchman
    2015, sec. 6.5.2.

    Parameters
    ----------
    size, stride
        Of the pooling to invert, each (frequency, time).
    shape
        (F', T') before that pooling; elements that belonged to no region as in `region_weights`.

    Attributes
    ----------
    repeat
        How often each time frame is merely repeated, where time unpooling is no more than that
        (regions that touch and cover everything), else 0.
    """

    frequency: Tensor
    time: Tensor

    def __init__(
        self, size: tuple[int, int], stride: tuple[int, int], shape: tuple[int, int]
    ) -> None:
        super().__init__()
        for name, axis in (("frequency", 0), ("time", 1)):
            weights = region_weights(size[axis], stride[axis], shape[axis])
            self.register_buffer(name, weights, persistent=False)
        regions = self.time.shape[1]
        repeats = shape[1] // regions
        plain = torch.eye(regions).repeat_interleave(repeats, dim=0)
        self.repeat = repeats if torch.equal(plain, self.time) else 0

    def over_frequency(self, x: Tensor) -> Tensor:
        """Unpool (B, C, F, T) over frequency only."""
        batch, channels, regions, frames = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(batch, regions, frames * channels)
        unpooled = torch.matmul(self.frequency, rows)
        return unpooled.view(batch, -1, frames, channels).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, F', T') for (B, C, F, T)."""
        x = self.over_frequency(x)
        if self.repeat:
            return x.repeat_interleave(self.repeat, dim=3)
        return torch.einsum("bcft,st->bcfs", x, self.time)


def pooling_switches(x: Tensor, size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Return where every pooling region found its maximum: the switches of max-pooling.

    P[i, j], Q[i, j] = arg max over the region of X, kept here as the one number f · T + t of the
    element (f, t) = (i·stride + P, j·stride + Q). Source: Riemens 2015, B.8.2.

    Parameters
    ----------
    x
        What is pooled, (B, C, F, T). Where a ReLU stands between the convolution and the pooling,
        give what enters the ReLU: Riemens' units pool first (sec. 4.3), and behind a ReLU every
        silent region is a tie.
    size, stride
        Of the pooling, each (frequency, time).

    Returns
    -------
    (B, C, regions over frequency, regions over time), int64.
    """
    _, switches = functional.max_pool2d(x.detach(), size, stride, return_indices=True)
    return switches


def at_switches(x: Tensor, switches: Tensor) -> Tensor:
    """Return the elements of x (B, C, F, T) that the switches name, in the switches' shape."""
    return x.flatten(2).gather(2, switches.flatten(2)).view(switches.shape)


def switch_unpool(x: Tensor, switches: Tensor, shape: tuple[int, int]) -> Tensor:
    """Put every value back where its region had found its maximum, and 0 everywhere else.

    Y[(i, j)·stride + (P[i, j], Q[i, j])] = X[i, j]. Regions that overlap may share their maximum;
    Riemens remarks that they then write the same value. A decoder's values differ, and Y = S·X
    with S in {0, 1} (B.8.2) takes one of them: here the last in the order of frequency, then time.

    Parameters
    ----------
    x, switches
        (B, C, regions over frequency, regions over time), from `pooling_switches`.
    shape
        (F', T') before the pooling.

    Returns
    -------
    (B, C, F', T'). Source: Riemens 2015, B.8.2.
    """
    batch, channels = x.shape[:2]
    values, where = x.flatten(2), switches.flatten(2)
    numbers = torch.arange(where.shape[2], device=x.device).expand_as(where)
    elements = (batch, channels, shape[0] * shape[1])
    last = where.new_zeros(elements).scatter_reduce_(2, where, numbers, "amax")
    # Each element is given one value and otherwise zeros, so the order of adding is of no account.
    taken = torch.where(last.gather(2, where) == numbers, values, 0)
    return x.new_zeros(elements).scatter_add(2, where, taken).view(batch, channels, *shape)
