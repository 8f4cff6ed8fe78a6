"""What the first layer of a raw-waveform network filters."""

import torch
from torch import Tensor


def cumulative_response(kernels: Tensor, points: int) -> Tensor:
    """Return the cumulative frequency response of a layer's filters.

    F_cum = Σ_k F_k / ‖F_k‖₂, F_k the magnitude spectrum of filter k.

    Source: Muckenhirn 2019, sec. 2, eq. 1.

    Parameters
    ----------
    kernels
        Filters (filters, taps).
    points
        Length of the transform, at least the taps: frequencies 0 … rate / 2 in points // 2 + 1
        bins.

    Returns
    -------
    (points // 2 + 1,); a filter of zeros adds nothing.
    """
    spectra: Tensor = torch.fft.rfft(kernels, points).abs()
    length = spectra.norm(dim=1, keepdim=True)
    return (spectra / torch.where(length > 0, length, 1)).sum(0)


def dictionary_response(kernels: Tensor, x: Tensor, points: int) -> Tensor:
    """Return the response to stretches of signal of a layer's filters as a spectral dictionary.

    s = |Σ_k ⟨x, f_k⟩ DFT[f_k]|.

    Source: Muckenhirn 2019, sec. 2, eq. 2.

    Parameters
    ----------
    kernels
        Filters (filters, taps).
    x
        Stretches (B, taps).
    points
        As in `cumulative_response`.

    Returns
    -------
    (B, points // 2 + 1).
    """
    response: Tensor = torch.fft.rfft((x @ kernels.t()) @ kernels, points).abs()
    return response
