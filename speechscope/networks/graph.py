"""A network as the list of its steps, so that each step's backward pass can be chosen.

Methods that change how something flows back through a layer (guided backpropagation, layer-wise
relevance propagation) run the steps themselves, with a rule in place of a step's own derivative.
Nothing is attached to the network, which stays as it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeAlias

from torch import Tensor

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.maps import LinearMap, output

Kind: TypeAlias = Literal[
    "linear",
    "relu",
    "activation",
    "plain",
    "sum",
    "normalisation",
    "product",
    "softmax",
    "gated",
    "gate",
    "value",
    "unknown",
]
"""What a step is to the rules.

linear: a map with weights and a bias, or an average; relu; activation: another one that is 0 at 0;
plain: moves, copies or leaves out values (reshapes, zero padding, max-pooling), whose derivative
takes relevance where it belongs; sum: adds several; normalisation: by statistics of the input
itself; product: of two that both come from the input; softmax; gated: recurrent cells and gated
linear units; gate: a sigmoid; value: not a tensor of the input, or nothing that a slope leads
through (a size, a parameter, a mask); unknown: anything else.
"""

Part: TypeAlias = Literal["conv", "dense", "norm", "pool", "other"]


OF_ANY_LAYER = "gradient, integrated, smoothgrad and occlusion take any layer"
"""What to do where a method cannot treat one."""


class Untreatable(SpeechscopeError):
    """A method cannot treat a layer faithfully; the message names it."""


@dataclass(frozen=True)
class Step:
    """One call of one layer.

    Parameters
    ----------
    name
        Of the layer: as the network counts it, or as the module holds it.
    kind
        See `Kind`.
    inputs
        The numbers of the steps its arguments come from, 0 being the network's input.
    run
        The step itself, given its arguments.
    what
        The layer in words, for messages.
    map
        Of a linear step.
    part
        Of a linear step: which rule of a composite applies. Of a plain one, ``pool`` tells
        max-pooling from what moves or copies values.
    apart
        Of a linear step that the batch normalisation after it was folded into: the two maps.
    held
        The step with what its rule takes as constant held so (a deviation, a gate), and without
        its bias: relevance is handed down in proportion to what each input adds to this.
    passes
        Which of the inputs relevance is handed to; None: all.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    run: Callable[..., Any]
    what: str
    map: LinearMap | None = None
    part: Part = "other"
    apart: tuple[LinearMap, LinearMap] | None = None
    held: Callable[..., Tensor] | None = None
    passes: tuple[int, ...] | None = None

    @property
    def relevant(self) -> tuple[int, ...]:
        """The numbers of the steps that relevance is handed to."""
        return self.inputs if self.passes is None else tuple(self.inputs[n] for n in self.passes)


def linear_step(
    name: str,
    inputs: tuple[int, ...],
    layer: LinearMap,
    what: str,
    part: Part,
) -> Step:
    """Return the step of a linear map."""
    return Step(name, "linear", inputs, partial(output, layer), what, layer, part)


Handler: TypeAlias = Callable[..., Tensor]
"""Runs a step in a method's way: (step, *arguments) → output."""


@dataclass(frozen=True)
class Graph:
    """The steps of a network from its input, number 0, to its scores, the last.

    Parameters
    ----------
    places
        Of modules with several steps in them: the numbers of the steps whose output enters the
        first call, and which the last one gives.
    shape
        Of the inputs they hold for, whatever the values; None: for those alone they were read of.
    """

    steps: tuple[Step, ...]
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the scores of inputs, as the network computes them."""
        return self.run(x)

    def run(
        self,
        x: Tensor,
        handlers: Mapping[Kind, Handler] | None = None,
        kept: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the scores of inputs.

        Parameters
        ----------
        handlers
            What runs the steps of a kind instead of the steps themselves.
        kept
            Filled with the first argument of every linear step, by the step's name.
        """
        value = x
        for step, arguments, value in self._flow(x, handlers or {}):  # noqa: B007 - the last is used
            if kept is not None and step.kind == "linear":
                kept.setdefault(step.name, arguments[0])
        return value

    def outputs(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return what layers give for inputs, by name; of one called twice, its last output."""
        last = max((n for n, step in enumerate(self.steps, 1) if step.name in layers), default=0)
        outputs: dict[str, Tensor] = {}
        for step, _, value in islice(self._flow(x, {}), last):
            if step.name in layers:
                outputs.pop(step.name, None)  # in the order of the last calls
                outputs[step.name] = value
        return outputs

    def _flow(
        self, x: Tensor, handlers: Mapping[Kind, Handler]
    ) -> Iterator[tuple[Step, list[Any], Any]]:
        """Yield every step with its arguments and its value."""
        values: list[Any] = [x]
        last = {n: number for number, step in enumerate(self.steps, 1) for n in step.inputs}
        for number, step in enumerate(self.steps, 1):
            arguments = [values[n] for n in step.inputs]
            handler = handlers.get(step.kind)
            values.append(step.run(*arguments) if handler is None else handler(step, *arguments))
            yield step, arguments, values[number]
            for n in step.inputs:
                if last[n] == number:
                    values[n] = None  # free what no later step needs

    def layers(self) -> list[str]:
        """Return the names of all that is more than a reshape or padding, in order, each once."""
        counted = (
            s.name
            for s in self.steps
            if s.name and (s.kind not in ("plain", "value") or s.part == "pool")
        )
        return list(dict.fromkeys(counted))

    def split(self, layer: str) -> tuple["Graph", "Graph"]:
        """Return the steps before a layer's first call and those from it on.

        Raises
        ------
        UsageProblem
            There is no such layer, or something goes around it.
        """
        if layer in self.places:
            source = self.places[layer][0]
        else:
            source = self.steps[self._calls(layer)[0] - 1].inputs[0]
        before = _renumbered(self.steps, _needed(self.steps, source), {0: 0})
        later = _needed(self.steps, len(self.steps), stop=source)
        if 0 in later and source != 0:
            raise UsageProblem(f"layer {layer}: other connections go around it")
        after = _renumbered(self.steps, later, {source: 0})
        return Graph(before), Graph(after)

    def _calls(self, layer: str) -> list[int]:
        """Return the numbers of a layer's steps; raise UsageProblem where there are none."""
        numbers = [n for n, step in enumerate(self.steps, 1) if step.name == layer]
        if not numbers:
            names = dict.fromkeys(step.name for step in self.steps if step.kind != "value")
            raise UsageProblem(f"layer {layer}: choose from {', '.join(names)}")
        return numbers

    def refuse(self, kinds: Mapping[Kind, str], *, relevant: bool = False) -> None:
        """Raise Untreatable, with the reason given, if a step is of one of these kinds.

        With `relevant` only steps that relevance is handed to count.
        """
        reached = _needed(self.steps, len(self.steps), relevant=relevant)
        for number, step in enumerate(self.steps, 1):
            if step.kind in kinds and number in reached:
                layer = f"layer {step.name} ({step.what})" if step.name else step.what
                raise Untreatable(f"{layer}: {kinds[step.kind]}; {OF_ANY_LAYER}")


def _needed(
    steps: Sequence[Step], last: int, stop: int | None = None, *, relevant: bool = False
) -> set[int]:
    """Return the numbers of all that a step needs; what `stop` needs is left out, 0 included.

    With `relevant`, of all that relevance is handed to from it.
    """
    found: set[int] = set()
    waiting = [last]
    while waiting:
        number = waiting.pop()
        if number in found or number == stop:
            continue
        found.add(number)
        if number:
            step = steps[number - 1]
            waiting.extend(step.relevant if relevant else step.inputs)
    return found


def _renumbered(
    steps: Sequence[Step], wanted: set[int], start: Mapping[int, int]
) -> tuple[Step, ...]:
    places = dict(start)
    out: list[Step] = []
    for number in sorted(wanted - {0}):
        if number in places:
            continue
        step = steps[number - 1]
        out.append(replace(step, inputs=tuple(places[n] for n in step.inputs)))
        places[number] = len(out)
    return tuple(out)
