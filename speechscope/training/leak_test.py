"""What an autoencoder restores, and how much of it reaches the output around the code.

Churchman 2015, sec. 6.5.2 and appendix A; Riemens 2015, sec. 4.2.2: switch unpooling hands
positions from the encoder's poolings to the decoder, so that even a decoder without a code
restores something. A decoder that unpools blindly must then give one picture for all inputs.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechscope.features import distances
from speechscope.networks.autoencoders import Autoencoder
from speechscope.networks.decoders import ConvolutionStage, Switches
from speechscope.training.batches import in_batches, resample
from speechscope.training.source import CorpusSource

if TYPE_CHECKING:
    from speechscope.stages.decode_train import DecodeTrain


def decodings(
    autoencoder: Autoencoder, code: Tensor, switches: Switches | None
) -> dict[str, Tensor]:
    """Return what is restored from a code, and from none.

    ``decoded``: from the code. ``zeroed``: from zeros in its place (Riemens 2015, sec. 4.2.2).
    ``mangled``: with the filters and biases of the first decoding convolution set to zero
    (Churchman 2015, app. A); what it restores is zero, whatever it is given.
    """
    decoder = autoencoder.decoder
    first = next((i for i, s in enumerate(decoder.stages) if isinstance(s, ConvolutionStage)), 0)
    nothing = code.new_zeros(len(code), *decoder.stage(first).shape)
    return {
        "decoded": decoder(code, switches),
        "zeroed": decoder(torch.zeros_like(code), switches),
        "mangled": decoder(nothing, switches, first + 1),
    }


@torch.no_grad()
def measure(
    autoencoder: Autoencoder, source: CorpusSource, settings: "DecodeTrain"
) -> dict[str, int | float]:
    """Return an autoencoder's errors on inputs of both splits, and its leak test on test inputs.

    Returns
    -------
    The ``layer``; mean Euclidean distances to the input (Churchman 2015, sec. 6.2): ``train`` and
    ``test`` of what is decoded, ``silence`` of zeros, ``zeroed`` and ``mangled`` of `decodings`;
    and mean largest cross-correlations with it, of centred spectrograms (sec. 7, mxcorr2):
    ``correlation``, ``zeroed_correlation``, ``mangled_correlation``.
    """
    test: dict[str, list[np.ndarray]] = {}
    for x, code, switches in _codes(autoencoder, source, "test", settings):
        restored = decodings(autoencoder, code, switches)
        for name, found in [*restored.items(), ("silence", torch.zeros_like(x))]:
            first, second = x.cpu().numpy(), found.cpu().numpy()
            test.setdefault(name, []).append(distances.euclidean(first, second))
            correlation = distances.max_cross_correlation(first, second)
            test.setdefault(f"{name}_correlation", []).append(correlation)
    train = [
        distances.euclidean(x.cpu().numpy(), autoencoder.decoder(code, switches).cpu().numpy())
        for x, code, switches in _codes(autoencoder, source, "train", settings)
    ]
    mean = {name: _mean(values) for name, values in test.items()}
    return {
        "layer": autoencoder.layer,
        "train": _mean(train),
        "test": mean.get("decoded", 0.0),
        "silence": mean.get("silence", 0.0),
        "correlation": mean.get("decoded_correlation", 0.0),
        **{
            name: mean.get(name, 0.0)
            for name in ("zeroed", "zeroed_correlation", "mangled", "mangled_correlation")
        },
    }


def _mean(parts: list[np.ndarray]) -> float:
    return float(np.concatenate(parts).mean()) if parts else 0.0


def _codes(
    autoencoder: Autoencoder, source: CorpusSource, split: str, settings: "DecodeTrain"
) -> Iterator[tuple[Tensor, Tensor, Switches]]:
    """Yield inputs, their codes and switches, batch by batch."""
    rng = np.random.default_rng([settings.seed, len(split)])
    positions = resample(source.labels(split), settings.test_per_class, rng)
    for part in in_batches(positions, settings.batch):
        x = source.fetch(split, part)
        found, switches = autoencoder.encode(x)
        yield x, found[autoencoder.layer], switches
