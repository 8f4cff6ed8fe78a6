"""Sounds as what is looked for: a corpus' inputs as a differentiable function of waveforms."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.features.representations import SCOPES, Framewise
from speechscope.inversion.problem import Objective, complete
from speechscope.inversion.sound import audible, sound_of, transform


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
        self._static: Framewise | None = None
        if corpus.unit != "window":
            fits = corpus.unit == "segment" and not corpus.config.get("duration")
            static = corpus.representation.static if fits else None
            if not isinstance(static, Framewise) or corpus.config["normalize"] in SCOPES:
                raise UsageProblem(
                    f"{corpus.path}: a search for sounds needs segments without --duration and "
                    "z-normalisation, of a representation whose frames stand by themselves (any "
                    "but gammatone); or windows of the waveform"
                )
            self._static = static
        self.register_buffer("mean", torch.from_numpy(corpus.mean.copy()))
        self.register_buffer("derived", derived)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return centred inputs (N, C, F, T) of waveforms (N, samples)."""
        if self._static is None:
            return waveforms[:, None, None] - self.mean
        spectra = transform(self._static.stft, waveforms).transpose(1, 2)
        if spectra.requires_grad:
            # Of silence a root has no slope; none is followed.
            spectra.register_hook(torch.nan_to_num)  # type: ignore[no-untyped-call]
        rows: Tensor = self._static.rows(spectra.flatten(0, 1))
        static = rows.reshape(*spectra.shape[:2], *rows.shape[1:]).permute(0, 2, 3, 1)
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
