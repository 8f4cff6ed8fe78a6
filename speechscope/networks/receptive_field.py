"""Which frames of the input a convolutional layer sees."""

from dataclasses import dataclass

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Conv, Linear, MaxPool, Table


@dataclass(frozen=True)
class ReceptiveField:
    """The frames each output of a layer depends on.

    Output t sees the `frames` frames from t · step − before on, those before 0 and after the last
    being padding.
    """

    frames: int
    step: int
    before: int

    def span(self, output: int) -> tuple[int, int]:
        """Return (first, past the last) frame that an output sees."""
        first = output * self.step - self.before
        return first, first + self.frames


def receptive_field(table: Table, layer: int) -> ReceptiveField:
    """Return the receptive field over time of a layer, counted from 1.

    Layer by layer, a kernel k with stride s and p zeros before: frames + (k − 1) · step,
    before + p · step, step · s.

    Raises
    ------
    SpeechscopeError
        A fully connected layer is on the way: it sees the whole input.
    """
    frames, step, before = 1, 1, 0
    for number, row in enumerate(table[:layer], start=1):
        if isinstance(row, Linear):
            raise SpeechscopeError(f"layer {number} is fully connected: it sees the whole input")
        if isinstance(row, Conv | MaxPool):
            size = row.kernel[1] if isinstance(row, Conv) else row.size[1]
            frames += (size - 1) * step
            before += row.pads[2] * step if isinstance(row, Conv) else 0
            step *= row.stride[1]
    return ReceptiveField(frames, step, before)
