"""Maximizing units and writing `maximum.zarr`."""

from collections.abc import Callable, Mapping

import numpy as np

from speechscope.networks.subject import Subject
from speechscope.relevance.maximize import MaximizeSettings, Unit, maximize
from speechscope.relevance.windows import Layer
from speechscope.store.writer import ArtifactWriter, flag_attributes
from speechscope.work.tasks import mixed

UNITS = 64
"""Units worked on at a time, and in one chunk."""


def write_maximum(
    writer: ArtifactWriter,
    subject: Subject,
    layer: Layer,
    units: Mapping[str, Unit],
    settings: MaximizeSettings,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Maximize units of a layer and write the arrays of `maximum.zarr`, a block at a time.

    ``optimum [unit, channel, frequency, time]``, centred if the network's inputs are;
    ``activation [unit, step]``, before every step and after the last; ``map [unit]``, its number;
    and, where an optimum has the size of an input that can be turned back into sound,
    ``waveform [unit, sample]``, of the optimum with the mean restored.

    Returns
    -------
    Whether there are waveforms.
    """
    corpus, shape, count = subject.corpus, layer.seen, len(units)
    step = min(UNITS, count)
    volume = ("channel", "frequency", "time")
    found = writer.create(
        "optimum", (count, *shape), np.float32, ("unit", *volume), {"units": "1"}, (step, *shape)
    )
    length = settings.steps + 1
    climbed = writer.create(
        "activation", (count, length), np.float32, ("unit", "step"), {"units": "1"}, (step, length)
    )
    whole = shape == corpus.input_shape
    waveform, sound = corpus.unit == "window", None
    if waveform or (whole and corpus.invertible):
        samples = shape[2] if waveform else int(corpus.config["samples"])
        rate = {"units": "1", "sampling_frequency": int(corpus.config["rate"])}
        sound = writer.create(
            "waveform", (count, samples), np.float32, ("unit", "sample"), rate, (step, samples)
        )
    numbers = np.arange(count, dtype=np.int32)
    writer.put("unit", numbers, ("unit",), flag_attributes(list(units)))
    maps = np.array([unit.number for unit in units.values()], dtype=np.int32)
    writer.put("map", maps, ("unit",), {"units": "1"})

    wanted = list(units.values())
    for start in range(0, count, step):
        block = slice(start, min(count, start + step))
        done = maximize(
            layer.run,
            shape,
            wanted[block],
            settings,
            [mixed(seed, number) for number in range(start, block.stop)],
            device=subject.device,
            progress=progress,
        )
        optima = done.x.cpu().numpy()
        found[block] = optima
        climbed[block] = done.activation.numpy()
        if sound is not None and waveform:
            sound[block] = optima.reshape(len(optima), -1)
        elif sound is not None:
            sound[block] = corpus.sound_of(subject.whole(done.x))
    return sound is not None
