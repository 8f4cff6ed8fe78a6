"""Which unit a corpus is cut into, by name."""

from collections.abc import Sequence

from speechscope.corpus.units.cut import Unit
from speechscope.corpus.units.frame import FrameUnit
from speechscope.corpus.units.segment import SegmentUnit
from speechscope.corpus.units.utterance import UtteranceUnit
from speechscope.corpus.units.window import WindowUnit
from speechscope.features.representations import representation
from speechscope.features.transform import Transform


def unit_of(
    name: str,
    transform: Transform,
    features: str,
    *,
    deltas: int,
    normalize: str,
    context: int,
    letters: bool,
) -> tuple[Unit, Sequence[str]]:
    """Return a unit and the names of its channels.

    Parameters
    ----------
    name
        ``segment``, ``frame``, ``window`` or ``utterance``.
    transform
        Sizes; ``samples`` is the length of a padded segment or of a window.
    features, deltas, normalize
        The representation, as `speechscope.features.representations` takes it, or ``waveform``.
    context
        Frames an item of unit ``frame`` is made of.
    letters
        Whether utterances are labelled with letters.

    Raises
    ------
    UsageProblem
        There is no such representation, or it cannot have these sizes.
    """
    if name == "window":
        return WindowUnit(transform.samples, transform.hop, transform.rate, normalize), ("samples",)
    made = representation(features, transform, deltas=deltas, normalize=normalize)
    rate = transform.rate
    units: dict[str, Unit] = {
        "segment": SegmentUnit(made, rate),
        "frame": FrameUnit(made, context, transform.window, transform.hop, rate),
        "utterance": UtteranceUnit(made, rate, letters),
    }
    return units[name], made.channel_names
