"""More constructions of networks of waveforms (B, 1, T), each a class without arguments.

`tools/check_networks.py` tries each by the command line, and tests take them too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Odd(nn.Module):
    """A convolution, c, then what is odd, then a dense layer, l; weights are seeded."""

    c: Any
    l: Any  # noqa: E741
    n: Any
    a: Any
    s: Any
    r: Any
    q: Any
    k: Any
    v: Any
    w: Any
    calls: Any
    before: Any

    def __init__(self, stride: int = 16, **parts: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.c, self.l = nn.Conv1d(1, 8, 64, stride), nn.Linear(8, 5)
        for name, part in parts.items():
            setattr(self, name, part() if callable(part) else part)

    def odd(self, x: Tensor) -> Tensor:
        """Return what is given instead of maps (B, 8, T)."""
        return x

    def forward(self, x: Tensor) -> Any:
        """Return five scores."""
        return self.l(self.odd(functional.relu(self.c(x))).mean(-1))

    def logits(self, x: Tensor) -> Tensor:
        """Return the scores alone."""
        out: Tensor = self(x)
        return out


class SpectralNorm(Odd):
    """A weight over its largest singular value, by a parametrization."""

    def __init__(self) -> None:
        super().__init__(n=lambda: parametrizations.spectral_norm(nn.Conv1d(8, 8, 3)))

    def odd(self, x: Tensor) -> Tensor:
        return functional.relu(self.n(x))


class SpectralHook(SpectralNorm):
    """The same by a hook, as it was."""

    def __init__(self) -> None:
        Odd.__init__(self, n=lambda: nn.utils.spectral_norm(nn.Conv1d(8, 8, 3)))


class WeightHook(SpectralNorm):
    """A weight as length and direction, by a hook."""

    def __init__(self) -> None:
        Odd.__init__(self, n=lambda: nn.utils.weight_norm(nn.Conv1d(8, 8, 3)))


class Orthogonal(Odd):
    """An orthogonal matrix, by a parametrization."""

    def __init__(self) -> None:
        super().__init__(n=lambda: parametrizations.orthogonal(nn.Linear(8, 8)))

    def odd(self, x: Tensor) -> Tensor:
        return functional.relu(self.n(x.transpose(1, 2))).transpose(1, 2)


class SharedLoop(Odd):
    """A list of layers, of which one stands in it three times."""

    def __init__(self) -> None:
        super().__init__(s=lambda: nn.Conv1d(8, 8, 3, padding=1))
        self.all = nn.ModuleList([self.s, nn.ReLU(), self.s, nn.ReLU(), self.s])

    def odd(self, x: Tensor) -> Tensor:
        for layer in self.all:
            x = x + layer(x) / 4
        return x


class MaskedHeads(Odd):
    """Attention in which frames see no later ones, and none the last four."""

    def __init__(self) -> None:
        super().__init__(64, a=lambda: nn.MultiheadAttention(8, 2, batch_first=True))

    def odd(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        frames = x.shape[1]
        later = torch.ones(frames, frames, dtype=torch.bool, device=x.device).triu(1)
        padded = torch.zeros(len(x), frames, dtype=torch.bool, device=x.device)
        padded[:, -4:] = True
        mixed: Tensor = self.a(x, x, x, padded, need_weights=False, attn_mask=later)[0]
        return (x + mixed).transpose(1, 2)


class BiasedHeads(Odd):
    """Attention with biases of keys and values and one to nothing."""

    def __init__(self) -> None:
        more = {"batch_first": True, "add_bias_kv": True, "add_zero_attn": True}
        super().__init__(64, a=lambda: nn.MultiheadAttention(8, 2, **more))

    def odd(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        out: Tensor = self.a(x, x, x)[0].transpose(1, 2)
        return out


class Packed(Odd):
    """A recurrent layer of a packed sequence."""

    def __init__(self) -> None:
        super().__init__(64, r=lambda: nn.LSTM(8, 4, bidirectional=True, batch_first=True))

    def odd(self, x: Tensor) -> Tensor:
        lengths = torch.full((len(x),), x.shape[2] - 1)
        packed = pack_padded_sequence(x.transpose(1, 2), lengths, batch_first=True)
        return pad_packed_sequence(self.r(packed)[0], batch_first=True)[0].transpose(1, 2)


class _Swish(torch.autograd.Function):
    """x σ(x), keeping x alone for its slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        slope: Tensor = slopes[0] * (gate + x * gate * (1 - gate))
        return slope


class OwnFunction(Odd):
    """A function with a slope of its own."""

    def __init__(self) -> None:
        super().__init__(n=lambda: nn.Conv1d(8, 8, 3))

    def odd(self, x: Tensor) -> Tensor:
        out: Tensor = _Swish.apply(self.n(x))  # type: ignore[no-untyped-call]
        return out

    def logits(self, x: Tensor) -> Tensor:
        out: Tensor = self.l(functional.silu(self.n(functional.relu(self.c(x)))).mean(-1))
        return out


class _Reversed(torch.autograd.Function):
    """x, with its slope the other way round (Ganin et al. 2016)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return -slopes[0]


class Reversal(Odd):
    """A slope that is not that of what is computed."""

    def odd(self, x: Tensor) -> Tensor:
        out: Tensor = _Reversed.apply(x)  # type: ignore[no-untyped-call]
        return out


class EinsumHeads(Odd):
    """Attention in Einstein's notation."""

    def __init__(self) -> None:
        super().__init__(64, **{name: lambda: nn.Linear(8, 8) for name in "qkv"})

    def odd(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        q, k, v = (part(x).unflatten(2, (2, 4)) for part in (self.q, self.k, self.v))
        weights = torch.einsum("bthd,bshd->bhts", q, k).div(2).softmax(-1)
        mixed = torch.einsum("bhts,bshd->bthd", weights, v)
        return (x + mixed.flatten(2)).transpose(1, 2)


class ComplexFront(Odd):
    """Complex weights of a spectrum, and its power."""

    def __init__(self) -> None:
        super().__init__(w=lambda: nn.Parameter(torch.randn(33, 8, dtype=torch.cfloat) / 9))

    def forward(self, x: Tensor) -> Any:
        window = torch.hann_window(64, dtype=x.dtype, device=x.device)
        z = torch.stft(x[:, 0], 64, 32, window=window, return_complex=True)
        maps = torch.matmul(z.transpose(1, 2), self.w.to(z.dtype)).abs().square()
        return self.l(maps.mean(1))


class Nested(Odd):
    """A dictionary in a dictionary; what is asked for is out."""

    def forward(self, x: Tensor) -> Any:
        maps = functional.relu(self.c(x))
        return {"out": {"frames": maps, "scores": self.l(maps.mean(-1))}, "loss": None}

    def logits(self, x: Tensor) -> Tensor:
        out: Tensor = self(x)["out"]["scores"]
        return out


class Counting(Odd):
    """A buffer that every call changes, and no score depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def odd(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


class Streaming(Odd):
    """The end of what was heard before is heard with what comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(1, 8, 4))

    def odd(self, x: Tensor) -> Tensor:
        out = torch.cat([self.before.expand(len(x), -1, -1), x], 2)
        self.before = x[:1, :, -4:].detach()
        return out


class Lazy(Odd):
    """A layer whose size is not known before it is used."""

    def __init__(self) -> None:
        super().__init__(n=lambda: nn.LazyConv1d(8, 3))

    def odd(self, x: Tensor) -> Tensor:
        return functional.relu(self.n(x))


class Half(Odd):
    """Weights of half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.half()


class Checkpointed(Odd):
    """Layers that are run again on the way back."""

    def __init__(self) -> None:
        super().__init__(n=lambda: nn.Conv1d(8, 8, 3))

    def odd(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        out: Tensor = checkpoint(lambda y: functional.relu(self.n(y)), x, use_reentrant=False)
        return out

    def logits(self, x: Tensor) -> Tensor:
        maps = functional.relu(self.n(functional.relu(self.c(x))))
        out: Tensor = self.l(maps.mean(-1))
        return out


class PartlyScripted(Odd):
    """One layer of TorchScript among others."""

    def __init__(self) -> None:
        super().__init__(n=lambda: torch.jit.script(nn.Sequential(nn.Conv1d(8, 8, 3), nn.ReLU())))

    def odd(self, x: Tensor) -> Tensor:
        out: Tensor = self.n(x)
        return out


class Quantised(Odd):
    """The nearest of a codebook, its slope that of what it stands for."""

    def __init__(self) -> None:
        super().__init__(w=lambda: nn.Parameter(torch.randn(16, 8)))

    def odd(self, x: Tensor) -> Tensor:
        codes = self.w.to(x.dtype)
        nearest = torch.cdist(x.transpose(1, 2), codes[None]).argmin(-1)
        out: Tensor = x + (codes[nearest].transpose(1, 2) - x).detach()
        return out


class Spectral(Odd):
    """A convolution by Fourier transforms."""

    def __init__(self) -> None:
        super().__init__(w=lambda: nn.Parameter(torch.randn(8, 9) / 3))

    def odd(self, x: Tensor) -> Tensor:
        size = x.shape[2]
        kernel = torch.fft.rfft(self.w.to(x.dtype), size)
        return functional.relu(torch.fft.irfft(torch.fft.rfft(x, size) * kernel, size))


class Slices(Odd):
    """Parts that are written over, one of them twice."""

    def odd(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[:, :, ::2] *= 2
        x[:, 1] = x[:, 0] + x[:, 1]
        x[:, :, :3] = 0
        return x


class Mapped(Odd):
    """A layer over all frames by vmap."""

    def __init__(self) -> None:
        super().__init__(64, n=lambda: nn.Linear(8, 8))

    def odd(self, x: Tensor) -> Tensor:
        out: Tensor = torch.vmap(self.n, in_dims=2, out_dims=2)(x)
        return out.relu()


class Centred(Odd):
    """Inputs less the mean of the batch."""

    def odd(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class AlwaysDropping(Odd):
    """Dropout that is never turned off."""

    def odd(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.3)


class Repeated(Odd):
    """A sum that goes on until it is small: how often depends on the values."""

    def odd(self, x: Tensor) -> Tensor:
        total, part = x, x
        while part.abs().max() > 0.05:
            part = part / 2
            total = total + part
        return total


class Sorted(Odd):
    """The mean of the four highest frames."""

    def odd(self, x: Tensor) -> Tensor:
        return x.sort(-1, descending=True)[0][..., :4]


class Through(Odd):
    """Values that leave PyTorch and come back."""

    def odd(self, x: Tensor) -> Tensor:
        return x * torch.from_numpy(1 + x.detach().numpy().mean(-1, keepdims=True))


def compiled() -> nn.Module:
    """A network wrapped by torch.compile."""
    wrapped: Any = torch.compile(SharedLoop())
    network: nn.Module = wrapped
    return network


ODDITIES = tuple(
    name
    for name, kind in list(vars().items())
    if isinstance(kind, type) and issubclass(kind, Odd) and kind is not Odd
)
