"""In which order the parts of an autoencoder are trained.

``decoder``: the decoder's stages one by one from the code outwards, each restoring the input of
its encoder layer (Churchman 2015, sec. 6.5.5). ``none``: everything at once. ``strong`` and
``weak``: units are inserted one by one between the encoder and the decoder of those before, which
are kept (strong) or trained further (weak) (Riemens 2015, sec. 4.3 and 5.2).
"""

from dataclasses import dataclass

from torch import nn

from speechscope.networks.autoencoders import Autoencoder


@dataclass(frozen=True)
class Phase:
    """What runs and what is trained for some epochs.

    Parameters
    ----------
    code
        Number of the encoder layer that the decoder starts from.
    stages
        The decoder's stages that run.
    target
        Number of the encoder layer that is restored; 0 is the input.
    trained
        The decoder's stages that are trained.
    layers
        Names of the encoder's layers that are trained.
    """

    code: int
    stages: range
    target: int
    trained: range
    layers: tuple[str, ...]


def together(autoencoder: Autoencoder) -> Phase:
    """Return the training of everything at once."""
    every = range(len(autoencoder.decoder.stages))
    names = autoencoder.encoder_names() if autoencoder.scheme.trains_encoder else []
    return Phase(autoencoder.layer, every, 0, every, tuple(names))


def phases(autoencoder: Autoencoder, stack: str) -> list[Phase]:
    """Return what is trained, in order; `together` may follow."""
    whole = together(autoencoder)
    if stack == "none":
        return [whole]
    decoder, count = autoencoder.decoder, len(whole.stages)
    targets = [decoder.stage(index).target for index in range(count)]
    if stack == "decoder":
        return [
            Phase(whole.code, range(index + 1), target, range(index, index + 1), ())
            for index, target in enumerate(targets)
        ]
    # A unit ends where the stage inside it takes its target from; the innermost at the code.
    ends = [whole.code, *targets]
    found = []
    for units in range(1, count + 1):
        first = count - units
        old = 0 if stack == "weak" else units - 1
        trained = range(first, count if stack == "weak" else first + 1)
        layers = whole.layers[old:units]
        found.append(Phase(ends[first], range(first, count), 0, trained, layers))
    return found


def parameters(autoencoder: Autoencoder, phase: Phase) -> list[tuple[list[nn.Parameter], float]]:
    """Return what a phase trains, in groups, each with the root mean square of its weights.

    Tied weights are the encoder's; a tied stage has its biases alone, which are trained where the
    encoder is: Riemens' decoders "fixed to transpose" on a kept encoder learn nothing (table 3).
    """
    scheme, groups = autoencoder.scheme, []
    tied = scheme.decoder == "transpose-tied" and scheme.trains_encoder
    if tied or scheme.decoder in ("random", "transpose-init"):
        for index in phase.trained:
            stage = autoencoder.decoder.stage(index)
            groups.append((list(stage.parameters()), stage.size()))
    for name in phase.layers:
        layer = autoencoder.encoder.get_submodule(name)
        weight, _ = autoencoder.encoder.parameters_of(name)
        size = float(weight.detach().square().mean().sqrt())
        groups.append((list(layer.parameters()), size))
    return groups
