"""Which frames of the input a convolutional layer sees."""

from dataclasses import dataclass, replace

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, Shape, Table


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


def unpadded(network: Network, layer: int, input_shape: Shape) -> Network:
    """Return the layers up to one, without padding, for inputs of a shape (C, F, T).

    Of the size that the layer's outputs see, this gives the one output that nothing was padded for.
    """
    rows = tuple(
        replace(row, padding="valid") if isinstance(row, Conv) else row
        for row in network.table[:layer]
    )
    part = Network(rows, input_shape, network.classes)
    state = network.state_dict()
    part.load_state_dict({name: state[name] for name in part.state_dict()})
    return part.to(next(network.parameters()).device).eval().requires_grad_(False)
