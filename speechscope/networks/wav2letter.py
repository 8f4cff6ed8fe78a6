"""The letter network: whole utterances in, a score for every letter every two frames out."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.corpus.letters import OUTPUTS
from speechscope.networks.layers import BatchNorm, Conv, Network, ReLU, Shape, Table
from speechscope.registry import NETWORKS

Padding: TypeAlias = Literal["same-time", "valid"]

FRAMES = 206
"""Frames one output sees (Krug 2018, sec. 3.1)."""


def wav2letter(bins: int = 128, width: float = 1.0, padding: Padding = "same-time") -> Table:
    """Return the table of the letter network.

    Source: Krug 2018, sec. 3.1 and 3.4, after Collobert et al. (2016): widths, batch normalisation
    before each ReLU. The kernels are not printed; these are the ones from which the printed sizes
    follow: 128 × 206 in, 256 × 80 after the first layer, one output.

    Parameters
    ----------
    bins
        Mel bands.
    width
        What the maps of every layer are multiplied by; 1 is the paper's.
    padding
        "same-time": zeros at both ends, as in training (sec. 3.3); "valid": none, as for windows of
        `FRAMES` frames that are to be explained.
    """
    narrow, wide = max(round(256 * width), 1), max(round(2048 * width), 1)
    inner = (Conv(narrow, (1, 7), padding), BatchNorm(), ReLU())
    return (
        Conv(narrow, (bins, 48), padding, stride=(1, 2)),  # 206 frames → 80
        BatchNorm(),
        ReLU(),
        *inner * 8,  # → 74, 68, 62, 56, 50, 44, 38, 32
        Conv(wide, (1, 32), padding),  # → 1
        BatchNorm(),
        ReLU(),
        Conv(wide, (1, 1)),
        BatchNorm(),
        ReLU(),
        Conv(OUTPUTS, (1, 1)),
    )


class Wav2Letter(Network):
    """The letter network for utterances of any length.

    A `Network`, with layers counted and named as everywhere, whose `shapes` are those of `FRAMES`
    frames: of one window that is seen by one output, where nothing is padded.

    Parameters
    ----------
    bins, width, padding
        See `wav2letter`.
    channels
        Channels of the input: 1, or more with derivatives of the spectrogram.
    """

    def __init__(
        self,
        bins: int = 128,
        width: float = 1.0,
        padding: Padding = "same-time",
        channels: int = 1,
    ) -> None:
        super().__init__(wav2letter(bins, width, padding), (channels, bins, FRAMES), OUTPUTS)
        self.padding = padding

    def output_frames(self, frames: Tensor) -> Tensor:
        """Return how many outputs utterances of these many frames have, both (B,)."""
        for row in self.table:
            if isinstance(row, Conv):
                frames = _frames_after(row, frames)
        return frames

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the logits (B, letters, outputs) of utterances (B, C, F, T).

        Parameters
        ----------
        x
            Utterances, padded at their ends to one length.
        frames
            The frames of each, (B,), where x is; None: all of x. What stands after an utterance's
            end touches none of its outputs, nor the means and variances of batch normalisation.
        """
        if frames is None:
            return self.activation(x, len(self.table)).squeeze(2)
        mask = _mask(frames, x)
        x = x * mask
        for number, row in enumerate(self.table, start=1):
            if isinstance(row, BatchNorm):
                norm = self.get_submodule(self.names[number - 1])
                assert isinstance(norm, nn.BatchNorm2d)
                x = masked_batch_norm(norm, x, mask)
            elif isinstance(row, ReLU):
                # Zero, like the padding at the end of an utterance that stands alone.
                x = functional.relu(x) * mask
            elif isinstance(row, Conv):
                x = self._layer(number, x)
                frames = _frames_after(row, frames)
                mask = _mask(frames, x)
        return x.squeeze(2)


@NETWORKS.register("wav2letter")
def letter_network(
    input_shape: Shape = (1, 128, FRAMES), classes: int = OUTPUTS, width: float = 1.0
) -> Wav2Letter:
    """Return the letter network, whose classes are always the letters."""
    channels, bins, _ = input_shape
    return Wav2Letter(bins, width, channels=channels)


def masked_batch_norm(norm: nn.BatchNorm2d, x: Tensor, mask: Tensor) -> Tensor:
    """Return `norm` of x (B, C, 1, T), with the means and variances of some frames only.

    Parameters
    ----------
    mask
        (B, 1, 1, T), 1 where a frame counts and 0 where it is padding.
    """
    if not norm.training:
        normalised: Tensor = norm(x)
        return normalised
    if x.dtype == torch.bfloat16:  # eight bits count no further than 256
        x, mask = x.float(), mask.float()
    count = mask.sum()
    mean = (x * mask).sum((0, 2, 3), keepdim=True) / count
    centred = (x - mean) * mask
    variance = centred.square().sum((0, 2, 3), keepdim=True) / count
    running_mean, running_variance = norm.running_mean, norm.running_var
    assert running_mean is not None and running_variance is not None
    assert norm.momentum is not None and norm.num_batches_tracked is not None
    with torch.no_grad():
        running_mean.lerp_(mean.flatten(), norm.momentum)
        # Bessel's correction, as PyTorch has it for the running variance alone.
        running_variance.lerp_(variance.flatten() * (count / (count - 1)), norm.momentum)
        norm.num_batches_tracked += 1
    scale = norm.weight[:, None, None] * (variance + norm.eps).rsqrt()
    return centred * scale + norm.bias[:, None, None]


def _frames_after(row: Conv, frames: Tensor) -> Tensor:
    """Return the frames a convolution makes of so many."""
    padded = frames + row.pads[2] + row.pads[3]
    return (padded - row.kernel[1]).div(row.stride[1], rounding_mode="floor") + 1


def _mask(frames: Tensor, like: Tensor) -> Tensor:
    """Return 1 where a frame is of the utterance and 0 after its end, (B, 1, 1, T)."""
    inside = torch.arange(like.shape[3], device=like.device) < frames[:, None]
    return inside.to(like.dtype)[:, None, None]
