"""Sounds as what is looked for: a corpus' inputs as a differentiable function of waveforms."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.features.filterbanks import CEPSTRUM_BANDS, filters
from speechscope.features.filterbanks import LOG_FLOOR as BAND_FLOOR
from speechscope.features.representations import LOG_FLOOR, SCOPES, Framewise
from speechscope.features.stft import Stft
from speechscope.inversion.problem import Objective, complete
from speechscope.inversion.sound import audible, sound_of, transform

LEAST = 1e-20
"""Added to a power under a root, whose slope at 0 is none."""


def modulus(spectra: Tensor) -> Tensor:
    """Return |S|, with a slope everywhere."""
    return (spectra.real.square() + spectra.imag.square() + LEAST).sqrt()


def _bands(stft: Stft, bands: int, spectra: Tensor) -> Tensor:
    power = spectra.real.square() + spectra.imag.square()
    bank = torch.from_numpy(filters(bands, stft.points, stft.rate)).to(power)
    return torch.einsum("nft,fb->nbt", power, bank)


def _cepstrum(stft: Stft, bins: int, spectra: Tensor) -> Tensor:
    bands = max(CEPSTRUM_BANDS, bins)
    energies = torch.log(_bands(stft, bands, spectra) + BAND_FLOOR)
    place = torch.pi * (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
    cosine = torch.cos(torch.arange(bins, dtype=torch.float64)[:, None] * place)
    cosine *= (2 / bands) ** 0.5
    cosine[0] *= 0.5**0.5
    return torch.einsum("qb,nbt->nqt", cosine.to(energies), energies)


Rows = Callable[[Stft, int, Tensor], Tensor]
STATIC: dict[str, Rows] = {
    "real": lambda stft, bins, s: s.real[:, None],
    "magnitude": lambda stft, bins, s: modulus(s)[:, None],
    "sqrt-magnitude": lambda stft, bins, s: modulus(s).sqrt()[:, None],
    "log-magnitude": lambda stft, bins, s: torch.log(modulus(s) + LOG_FLOOR)[:, None],
    "magnitude-phase": lambda stft, bins, s: torch.stack((modulus(s), s.angle()), 1),
    "complex": lambda stft, bins, s: torch.stack((s.real, s.imag), 1),
    "mel": lambda stft, bins, s: _bands(stft, bins, s)[:, None],
    "log-mel": lambda stft, bins, s: torch.log(_bands(stft, bins, s) + BAND_FLOOR)[:, None],
    "mfcc": lambda stft, bins, s: _cepstrum(stft, bins, s)[:, None],
}
"""Channels (N, C, F, T) of spectra (N, bin, T), by the representation; `Representation` again."""


class Analysis(nn.Module):
    """Centred inputs (N, C, F, T) of waveforms (N, samples), as a corpus was prepared.

    Parameters
    ----------
    corpus
        Of segments, or of windows of the waveform.
    derived
        See `speechscope.inversion.problem.Problem`.

    Raises
    ------
    UsageProblem
        Its inputs are no differentiable function of an item's waveform.
    """

    mean: Tensor
    derived: Tensor | None

    def __init__(self, corpus: Corpus, derived: Tensor | None = None) -> None:
        super().__init__()
        self.corpus, self.samples = corpus, int(corpus.config["samples"])
        self.rate = int(corpus.config["rate"])
        self._stft: Stft | None = None
        if corpus.unit != "window":
            fits = corpus.unit == "segment" and not corpus.config.get("duration")
            if not fits or corpus.features not in STATIC or corpus.config["normalize"] in SCOPES:
                raise UsageProblem(
                    f"{corpus.path}: a search for sounds needs segments without --duration and "
                    f"z-normalisation, as one of {', '.join(STATIC)}; or windows of the waveform"
                )
            static = corpus.representation.static
            assert isinstance(static, Framewise)
            self._stft = static.stft
        self.register_buffer("mean", torch.from_numpy(corpus.mean.copy()))
        self.register_buffer("derived", derived)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return centred inputs (N, C, F, T) of waveforms (N, samples)."""
        if self._stft is None:
            return waveforms[:, None, None] - self.mean
        spectra = transform(self._stft, waveforms)
        bins = self.corpus.representation.transform.bins
        static = STATIC[self.corpus.features](self._stft, bins, spectra)
        return complete(static, self.derived) - self.mean

    def sound(self, x: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return waveforms (N, samples) of centred inputs, by the representation's own way back.

        Raises
        ------
        UsageProblem
            It has none.
        """
        values = (x + self.mean).detach().cpu().numpy()
        if not audible(self.corpus):
            raise UsageProblem(
                f"{self.corpus.path}: {self.corpus.features} cannot be turned into sound, which "
                "--on waveform would begin from; begin from regress, or from nothing"
            )
        return torch.from_numpy(sound_of(self.corpus, values, seeds)).to(x)


class OfSound:
    """E of the activations of waveforms: `Objective`, and its slope by the waveform.

    Parameters
    ----------
    objective
        E of inputs (B, C, F, T), all channels free.
    analysis
        What makes them from waveforms.
    """

    def __init__(self, objective: Objective, analysis: Analysis) -> None:
        self._objective, self._analysis = objective, analysis

    def evaluate(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return E (B,) in float64 and dE/dw, as waveforms (B, 1, 1, samples)."""
        waveforms = waveforms.detach().requires_grad_()
        with torch.enable_grad():
            x = self._analysis(waveforms.flatten(1))
        energy, slope = self._objective.evaluate(x.detach())
        (gradient,) = torch.autograd.grad(x, waveforms, slope)
        return energy, gradient

    def keep(self, items: Tensor) -> None:
        """See `Objective`."""
        self._objective.keep(items)
