"""Small networks, each with one construction that speech networks have; weights are seeded."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Run = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """Layers by name, and what is done with them."""

    def __init__(self, run: Run, **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part if isinstance(part, nn.Module) else nn.Parameter(part))

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def relu(x: Tensor) -> Tensor:
    return functional.relu(x)


def two(run: Run, **more: nn.Module | Tensor) -> Callable[[], nn.Module]:
    """Two convolutions of a waveform (B, 1, T) and a dense layer, and more."""

    def make() -> nn.Module:
        parts = {"c1": nn.Conv1d(1, 8, 16, 4), "c2": nn.Conv1d(8, 8, 3), "l": nn.Linear(8, 5)}
        return Net(run, **(parts | more))

    return make


def activation(kind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: two(lambda s, x: s.l(s.a(s.c2(s.a(s.c1(x)))).mean(-1)), a=kind())()


def normalised(kind: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: two(lambda s, x: s.l(relu(s.c2(relu(s.n(s.c1(x))))).mean(-1)), n=kind())()


def maps(run: Run, **parts: nn.Module) -> Callable[[], nn.Module]:
    """A network of spectrograms (B, 1, F, T)."""
    return lambda: Net(run, **parts)


class Causal(nn.Conv1d):
    """A convolution with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (self.kernel_size[0] - 1, 0)))


class Clip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0, 20)


class Snake(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(x) ** 2


class LayerOfChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.n(x.transpose(1, 2)).transpose(1, 2)
        return out


class Scaled(nn.Module):
    """Mean and variance of every channel of an item."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)


def _skip_twice(s: Any, x: Tensor) -> Tensor:
    y = s.c1(x)
    z = s.r(y)  # in place: y is overwritten
    out: Tensor = s.l((s.c(z) + y).mean(-1))
    return out


def _residual(s: Any, x: Tensor) -> Tensor:
    x = s.r(s.c1(x))
    y = s.b(s.c(x))
    y += x
    out: Tensor = s.l(s.r(y).mean(-1))
    return out


def _attention(s: Any, x: Tensor) -> Tensor:
    x = relu(s.c1(x)).transpose(1, 2)
    a = torch.softmax(s.q(x) @ s.k(x).transpose(1, 2) / 8**0.5, -1)
    out: Tensor = s.l((x + a @ s.v(x)).mean(1))
    return out


def _positions(s: Any, x: Tensor) -> Tensor:
    x = relu(s.c1(x)).transpose(1, 2)[:, :24]
    x = torch.cat([s.cls.expand(x.size(0), -1, -1), x], 1) + s.pe.expand(x.size(0), -1, -1)
    out: Tensor = s.l(relu(s.f(x)).mean(1))
    return out


def _values(s: Any, x: Tensor) -> Tensor:
    if x.abs().max() > 0:
        x = x / x.abs().amax(-1, keepdim=True)
    out: Tensor = s.l(relu(s.c1(x)).mean(-1))
    return out


def _shapes(s: Any, x: Tensor) -> Tensor:
    if x.dim() == 2:
        x = x.unsqueeze(1)
    if x.shape[-1] % 16:
        x = functional.pad(x, (0, 16 - x.shape[-1] % 16))
    out: Tensor = s.l(relu(s.c1(x)).mean(-1))
    return out


def _power(s: Any, x: Tensor) -> Tensor:
    """√ of the power, without a floor: silence has no slope."""
    z = torch.stft(x[:, 0], 32, 16, window=torch.hann_window(32), return_complex=True)
    out: Tensor = s.m(torch.sqrt(z.real**2 + z.imag**2).mean(-1))
    return out


def _sinc(s: Any, x: Tensor) -> Tensor:
    n = torch.arange(-10, 11).float()[None] / 16000
    low = s.low.abs()[:, None]
    h = 2 * (low + 300) * torch.sinc(2 * (low + 300) * n) - 2 * low * torch.sinc(2 * low * n)
    x = functional.conv1d(x, (h / h.abs().max())[:, None], stride=4)
    out: Tensor = s.l(relu(s.c2(relu(x))).mean(-1))
    return out


def _block(s: Any, x: Tensor) -> Tensor:
    out: Tensor = s.l(s.e(s.c1(x).transpose(1, 2)).mean(1))
    return out


def _by_cells(s: Any, x: Tensor) -> Tensor:
    """Cells of all kinds, a step at a time, the state of one what enters the next."""
    state, h, r = None, None, None
    for row in relu(s.c1(x)).permute(2, 0, 1)[:12]:
        state = s.lstm(row, state)
        h = s.gru(state[0], h)
        r = s.rnn(h, r)
    out: Tensor = s.m(r + state[1])  # type: ignore[index]
    return out


PADS = {"padding": 1}


def on_the_cpu(network: nn.Module) -> nn.Module:
    """Wrap a network for several devices and leave it on the CPU, whatever the machine has."""
    wrapped = nn.DataParallel(network)
    wrapped.device_ids = []
    return wrapped.cpu()


WAVES: dict[str, Callable[[], nn.Module]] = {
    "plain": two(lambda s, x: s.l(relu(s.c2(relu(s.c1(x)))).mean(-1))),
    "in place": two(lambda s, x: s.l(s.r(s.c2(s.r(s.c1(x)))).mean(-1)), r=nn.ReLU(True)),
    "a name of two": two(lambda s, x: s.l(relu(s.c2(s.relu(s.c1(x)))).mean(-1)), relu=nn.ReLU()),
    "residual": two(
        _residual, c=nn.Conv1d(8, 8, 3, padding=1), b=nn.BatchNorm1d(8), r=nn.ReLU(True)
    ),
    "overwritten skip": two(_skip_twice, c=nn.Conv1d(8, 8, 3, padding=1), r=nn.ReLU(True)),
    "causal": two(lambda s, x: s.l(relu(s.c(relu(s.c1(x)))).mean(-1)), c=Causal(8, 8, 3)),
    "depthwise": two(
        lambda s, x: s.l(relu(s.d(relu(s.c1(x)))).mean(-1)),
        d=nn.Conv1d(8, 8, 3, padding=1, groups=8),
    ),
    "dilated": two(
        lambda s, x: s.l(relu(s.d(relu(s.c1(x)))).mean(-1)),
        d=nn.Conv1d(8, 8, 3, dilation=4, groups=4),
    ),
    "padded by reflection": two(
        lambda s, x: s.l(relu(s.d(relu(s.c1(x)))).mean(-1)),
        d=nn.Conv1d(8, 8, 5, padding=2, padding_mode="reflect"),
    ),
    "padded to the same": two(
        lambda s, x: s.l(relu(s.d(relu(s.c1(x)))).mean(-1)), d=nn.Conv1d(8, 8, 5, padding="same")
    ),
    "weight norm": two(
        lambda s, x: s.l(relu(s.d(relu(s.c1(x)))).mean(-1)),
        d=nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 3)),
    ),
    "sinc": two(_sinc, low=torch.linspace(100, 3000, 8)),
    "functional": lambda: Net(
        lambda s, x: functional.linear(relu(functional.conv1d(x, s.w, stride=4)).mean(-1), s.v),
        w=torch.randn(8, 1, 16) / 4,
        v=torch.randn(5, 8) / 3,
    ),
    **{
        kind.__name__: activation(kind)
        for kind in (
            *(nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.LeakyReLU, nn.PReLU, nn.Softplus, nn.ReLU6),
            *(nn.Hardtanh, nn.SELU, nn.Mish, nn.Hardswish, nn.Sigmoid, Clip, Snake),
        )
    },
    "GLU": two(
        lambda s, x: s.l(functional.glu(s.d(s.g(s.e(x))), 1).mean(-1)),
        **{"e": nn.Conv1d(1, 16, 16, 4), "g": nn.GLU(1), "d": nn.Conv1d(8, 16, 3)},
    ),
    "GroupNorm": normalised(lambda: nn.GroupNorm(2, 8)),
    "InstanceNorm": normalised(lambda: nn.InstanceNorm1d(8, affine=True)),
    "LayerNorm": normalised(LayerOfChannels),
    "scaled": normalised(Scaled),
    "batch statistics": normalised(lambda: nn.BatchNorm1d(8, track_running_stats=False)),
    "statistics": two(
        lambda s, x: s.m(torch.cat([s.c1(x).mean(-1), s.c1(x).std(-1)], 1)), m=nn.Linear(16, 5)
    ),
    "LSTM": two(
        lambda s, x: s.m(s.r(relu(s.c1(x)).transpose(1, 2))[0][:, -1]),
        **{"r": nn.LSTM(8, 6, bidirectional=True, batch_first=True), "m": nn.Linear(12, 5)},
    ),
    "GRU, its last state": two(
        lambda s, x: s.m(s.r(s.c1(x).transpose(1, 2))[1][-1]),
        **{"r": nn.GRU(8, 6, 2, batch_first=True), "m": nn.Linear(6, 5)},
    ),
    "cells": two(
        _by_cells,
        **{"lstm": nn.LSTMCell(8, 6), "gru": nn.GRUCell(6, 6), "rnn": nn.RNNCell(6, 6)},
        m=nn.Linear(6, 5),
    ),
    "positions": two(
        _positions, f=nn.Linear(8, 8), pe=torch.randn(1, 25, 8) / 9, cls=torch.randn(1, 1, 8)
    ),
    "attention": two(_attention, **{name: nn.Linear(8, 8) for name in "qkv"}),
    "transformer": two(_block, e=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
    "frames": two(lambda s, x: s.l(relu(s.c1(x)).transpose(1, 2))),
    "sigmoid, squeezed": two(
        lambda s, x: torch.sigmoid(s.l(relu(s.c1(x)).mean(-1)).unsqueeze(2)).squeeze(2)
    ),
    "softmax of frames": two(lambda s, x: s.l(s.c1(x).transpose(1, 2)).log_softmax(-1)),
    "one score": two(lambda s, x: s.l(relu(s.c1(x)).mean(-1))[:, 0]),
    "decides on values": two(_values),
    "decides on shapes": two(_shapes),
    "double": lambda: two(lambda s, x: s.l(relu(s.c1(x)).mean(-1)))().double(),
    "half": lambda: two(lambda s, x: s.l(relu(s.c1(x)).mean(-1)))().to(torch.bfloat16),
    "parallel": lambda: on_the_cpu(two(lambda s, x: s.l(relu(s.c1(x)).mean(-1)))()),
    "a detach": two(lambda s, x: s.l((s.c1(x) > 0.1).float().mean(-1))),
    "a root of power": two(_power, m=nn.Linear(17, 5)),
}
"""Of waveforms (B, 1, 400)."""

MAPS: dict[str, Callable[[], nn.Module]] = {
    "padded unevenly": lambda: nn.Sequential(
        *(nn.ZeroPad2d((2, 1, 3, 0)), nn.Conv2d(1, 8, (4, 3), (2, 1), padding=(0, 2))),
        *(nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d((3, 2), ceil_mode=True)),
        *(nn.AdaptiveMaxPool2d((1, 4)), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 6)),
    ),
    "sums": maps(
        lambda s, x: s.l(relu(s.c(x)).sum((2, 3)) / 100), c=nn.Conv2d(1, 8, 3), l=nn.Linear(8, 6)
    ),
    "averaged maps": maps(
        lambda s, x: s.o(relu(s.c(x))).mean((2, 3)), c=nn.Conv2d(1, 4, 3), o=nn.Conv2d(4, 6, 1)
    ),
    "depthwise maps": maps(
        lambda s, x: s.l(relu(s.d(relu(s.c(x)))).mean((2, 3))),
        **{"c": nn.Conv2d(1, 8, 3), "d": nn.Conv2d(8, 8, 3, groups=8), "l": nn.Linear(8, 6)},
    ),
}
"""Of spectrograms (B, 1, 12, 9)."""


def made(name: str) -> nn.Module:
    """One of them, statistics of its normalisations and biases being something."""
    network = copy.deepcopy((WAVES | MAPS)[name]())
    drawn = torch.Generator().manual_seed(1)
    for key, parameter in network.named_parameters():
        if key != "low":
            values = torch.randn(parameter.shape, generator=drawn) * 0.3
            parameter.data.copy_(values + ("weight" in key and parameter.dim() == 1))
    for module in network.modules():
        for part in (module,) if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else ():
            if part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_(0, 0.3, generator=drawn)
                part.running_var.uniform_(0.5, 2, generator=drawn)
    return network.eval().requires_grad_(False)


def examples(name: str, count: int = 3) -> Tensor:
    """Inputs (B, C, F, T) of a network."""
    drawn = torch.Generator().manual_seed(2)
    shape = (1, 1, 400) if name in WAVES else (1, 12, 9)
    return torch.randn(count, *shape, generator=drawn) * math.sqrt(0.5)
