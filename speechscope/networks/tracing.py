"""How a network becomes the list of its steps: any module by watching it run, ours by their tables.

`module_graph` watches a module that is not ours take an example; `table_graph` reads the table of
one that is. `speechscope.networks.kinds` says what each layer and function is to the rules.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import SpeechscopeError
from speechscope.networks.endings import endings
from speechscope.networks.graph import Graph, Kind, Part, Step, linear_step
from speechscope.networks.kinds import FLAT, Reading, border, told
from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network
from speechscope.networks.maps import Convolution, Dense, LinearMap, along_channels, norm_map
from speechscope.networks.recurrent import packed
from speechscope.networks.watching import Call, Watch, Without, tensors_in

CLOSE = 1e-4
"""How near steps come to what the network itself gives, as a share of its largest score."""


class _Slot(NamedTuple):
    """The place of an argument that comes from the input."""

    number: int


class _Named(NamedTuple):
    """A named tuple with arguments that come from the input."""

    kind: type[Any]
    parts: tuple[Any, ...]


def module_graph(
    module: nn.Module, example: Tensor, root: nn.Module | None = None, close: float = CLOSE
) -> Graph:
    """Return the steps of a module in evaluation mode, as it takes inputs of one size.

    Functional calls are found as well as layers; a layer that is called twice gives two steps. A
    softmax or sigmoid behind the last weights is left out: scores are explained as they stand
    before it (Muckenhirn 2019, sec. 3.2). Layers that no method knows are kept, as `unknown`, for
    the method to refuse by name.

    Parameters
    ----------
    module
        In evaluation mode; it is left as it is.
    example
        An input (B, …).
    root
        The module within it whose layers have names; None: the module itself.
    close
        See `CLOSE`; of networks in half precision more.

    Raises
    ------
    SpeechscopeError
        It is not the sum of its layers, or no slope leads from its scores to its input.
    """
    left_out = endings(module, example).skipped if root is None else ()
    reader = _Reader(module if root is None else root, example)

    def values(x: Tensor) -> Any:
        with Without(left_out) if left_out else nullcontext():
            return module(x)

    try:
        with torch.no_grad(), reader.over():
            wanted = values(reader.example)
        graph = reader.graph(wanted)
        with torch.no_grad():
            found = graph(example)
            other = example.flip(-1) / 2
            lasting = not reader.bound and _apart(graph(other), values(other)) <= close
    except SpeechscopeError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise SpeechscopeError(
            f"{type(reader.network).__name__} cannot be looked into step by step "
            f"({type(error).__name__}: {reason}); gradient, integrated, smoothgrad and occlusion "
            "do without"
        ) from error
    if _apart(found, wanted) > close:
        name = type(module if root is None else root).__name__
        raise SpeechscopeError(
            f"{name}: its layers by themselves give something else than the whole (is a part of "
            "what works in place used again, or drawn at random?); gradient, integrated, "
            "smoothgrad and occlusion do without them"
        )
    return Graph(graph.steps, graph.places, tuple(example.shape) if lasting else None)


def _apart(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference as a share of the largest score that is wanted."""
    if found.shape != wanted.shape:
        return float("inf")
    largest = wanted.abs().amax().clamp(min=1e-30)
    return float((found - wanted).abs().amax() / largest)


class _Reader(Watch):
    """Notes every step of a network while it runs.

    It is `bound` to the values it runs on where one that no slope leads through is held in a step,
    or decides.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__(network)
        self.example = example.clone()
        self.bound = False
        self._numbers = {id(self.example): 0}
        self._alive: list[Any] = [self.example]
        self._slopes = {0}
        self._steps: list[Step] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._begun: dict[str, int] = {}

    def graph(self, scores: Any) -> Graph:
        """Return the steps to the scores."""
        number = self._numbers.get(id(scores), -1) if isinstance(scores, Tensor) else -1
        if number < 0:
            raise SpeechscopeError(
                f"{type(self.network).__name__} cannot be looked into: what it computes is not "
                "said to Python (TorchScript), or leaves PyTorch; gradient, integrated, smoothgrad "
                "and occlusion do without"
            )
        if number not in self._slopes:
            raise SpeechscopeError(
                f"{type(self.network).__name__}: no slope leads from its scores to its input "
                "(a detach, a threshold or a rounding is on the way); occlusion needs none"
            )
        return Graph(tuple(self._steps[:number]), self._places)

    def entered(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """See `Watch`."""
        known = [t for t in tensors_in([args, dict(kwargs)]) if id(t) in self._numbers]
        if known:
            self._begun.setdefault(name, self._numbers[id(known[0])])

    def left(self, name: str, out: Any) -> Any:
        """See `Watch`."""
        number = next((self._numbers.get(id(t), -1) for t in tensors_in(out)), -1)
        if name in self._begun and number >= 0:
            self._places[name] = (self._begun[name], number)
        return out

    def decided(self, function: str, args: Sequence[Any]) -> None:
        """See `Watch`."""
        self.bound |= any(id(t) in self._numbers for t in tensors_in(list(args)))

    def called(self, call: Call, out: Any) -> Any:
        """See `Watch`."""
        refer = list({id(t): t for t in tensors_in([call.args, dict(call.kwargs)])}.values())
        refer = [t for t in refer if id(t) in self._numbers]
        if not refer or (isinstance(call.module, nn.Softmax | nn.LogSoftmax | nn.Sigmoid)
                         and out is call.args[0]):  # fmt: skip
            return out
        places = {id(t): _Slot(number) for number, t in enumerate(refer)}
        args, kwargs = _swapped(call.args, places), _swapped(dict(call.kwargs), places)
        function = call.function
        numbers = tuple(self._numbers[id(t)] for t in refer)

        def run(*values: Any) -> Any:
            held = dict(enumerate(values))
            return function(*_filled(args, held), **_filled(kwargs, held))

        flows = [n for n, t in enumerate(refer) if self._numbers[id(t)] in self._slopes]
        parts = list(tensors_in(out))
        smooth = any(part.is_floating_point() or part.is_complex() for part in parts)
        kept = {n: t for n, t in enumerate(refer) if n not in flows}
        if not flows or not smooth or call.stem in FLAT or call.stem.startswith("new_"):
            self._note(Step(call.name, "value", numbers, _safe(run, call), call.what), out)
            return out
        self.bound |= bool(kept)

        def of_flows(*values: Any) -> Any:
            return run(
                *(kept[n] if n in kept else values[flows.index(n)] for n in range(len(refer)))
            )

        stem = call.stem or type(call.module).__name__.removeprefix("Parametrized")
        kinds = [self._kind(numbers[n]) for n in flows]
        examples = [refer[n] for n in flows]
        reading = Reading(stem, call.args, call.kwargs, examples, of_flows, kinds, call.module)
        self._add(call, reading, [numbers[n] for n in flows], (numbers, run), out)
        return out

    def _add(
        self,
        call: Call,
        reading: Reading,
        flows: Sequence[int],
        whole: tuple[tuple[int, ...], Callable[..., Any]],
        out: Any,
    ) -> None:
        """Note a step that a slope leads through."""
        found, name, what = told(reading), call.name, call.what
        numbers, run = whole
        if found.kind == "linear" and found.map is not None:
            before = border(call.module)
            number = flows[0]
            if before is not None:
                self._steps.append(Step(name, "plain", (number,), before, what))
                number = len(self._steps)
            step = linear_step(name, (number,), found.map, what, found.part)
        elif found.kind == "relu":
            step = Step(name, "relu", (flows[0],), functional.relu, what)
        elif found.kind == "sum" and found.held is None:
            step = Step(name, "sum", tuple(flows), torch.add, what)
        elif found.kind == "gated" and not isinstance(out, Tensor):
            whole_of = reading.run
            step = Step(
                name, "gated", tuple(flows), lambda *v: packed(whole_of(*v)), what, held=found.held
            )
            self._unpack(step, out)
            return
        elif found.held is not None:
            step = Step(
                name, found.kind, tuple(flows), _safe(reading.run, call), what,
                held=found.held, passes=found.passes,
            )  # fmt: skip
        else:
            step = Step(name, found.kind, numbers, _safe(run, call), what, part=found.part)
        self._note(step, out, slope=True)

    def _unpack(self, step: Step, out: Any) -> None:
        """Note what a recurrent layer gives, of one packed step."""
        self._steps.append(step)
        number, begin = len(self._steps), 0
        self._slopes.add(number)
        for place, part in enumerate(tensors_in(out)):
            taken = slice(begin, begin + part.numel())
            take = partial(_taken, where=taken, shape=tuple(part.shape))
            self._note(
                Step(f"{step.name}[{place}]", "plain", (number,), take, step.what), part, True
            )
            begin = taken.stop

    def _note(self, step: Step, out: Any, slope: bool = False) -> None:
        """Note a step; of a tuple, every part of what it gives."""
        self._steps.append(step)
        number = len(self._steps)
        if isinstance(out, Tensor):
            self._known(out, number, slope)
            return
        for place, part in enumerate(tensors_in(out)):
            pick = Step(
                f"{step.name}[{place}]", "plain", (number,), partial(_part, place), step.what
            )
            self._steps.append(pick)
            self._known(part, len(self._steps), slope and part.is_floating_point())
        if slope:
            self._slopes.add(number)

    def _known(self, tensor: Tensor, number: int, slope: bool) -> None:
        self._numbers[id(tensor)] = number
        self._alive.append(tensor)
        if slope:
            self._slopes.add(number)

    def _kind(self, number: int) -> Kind:
        """Return what gave a value, seen through what only moves it."""
        while number and self._steps[number - 1].kind == "plain" and self._steps[number - 1].inputs:
            number = self._steps[number - 1].inputs[0]
        return self._steps[number - 1].kind if number else "value"


def _taken(packed_values: Tensor, where: slice, shape: tuple[int, ...]) -> Tensor:
    return packed_values[where].view(shape)


def _part(place: int, value: Any) -> Tensor:
    return list(tensors_in(value))[place]


def _safe(run: Callable[..., Any], call: Call) -> Callable[..., Any]:
    """Return a call that changes nothing that it is given, where it works in place."""
    if call.stem == "setitem":

        def filled(*values: Any) -> Any:
            copies = [v.clone() if isinstance(v, Tensor) else v for v in values]
            run(*copies)
            return copies[0]

        return filled
    name = str(getattr(call.function, "__name__", ""))
    in_place = getattr(call.module, "inplace", False) or call.kwargs.get("inplace", False)
    if in_place or (name.endswith("_") and not name.endswith("__")) or name.startswith("__i"):
        return lambda *values: run(*(v.clone() if isinstance(v, Tensor) else v for v in values))
    return run


def _swapped(value: Any, places: Mapping[int, Any]) -> Any:
    """Return a value with tensors exchanged for what stands for them, by identity."""
    return _mapped(value, lambda v: places.get(id(v), v) if isinstance(v, Tensor) else v)


def _filled(value: Any, held: Mapping[int, Any]) -> Any:
    return _mapped(value, lambda v: held[v.number] if isinstance(v, _Slot) else v)


def _mapped(value: Any, of: Callable[[Any], Any]) -> Any:
    if isinstance(value, _Slot):
        return of(value)
    if isinstance(value, _Named):
        return value.kind(*(_mapped(part, of) for part in value.parts))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = tuple(_mapped(part, of) for part in value)
        changed = any(isinstance(part, _Slot | _Named) for part in parts)
        return _Named(type(value), parts) if changed else type(value)(*parts)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(part, of) for part in value)
    if isinstance(value, dict):
        return {key: _mapped(part, of) for key, part in value.items()}
    if isinstance(value, slice):
        return slice(*(_mapped(part, of) for part in (value.start, value.stop, value.step)))
    return of(value)


def table_graph(network: Network) -> Graph:
    """Return the steps of a network of ours; its weights are shared, not copied.

    Layers have the names that the network gives them (conv1, pool1, …).
    """
    steps: list[Step] = []

    def plain(run: Callable[[Tensor], Tensor], part: Part = "other") -> None:
        steps.append(Step(name, "plain", (len(steps),), run, what, part=part))

    def linear(layer: LinearMap, part: Part) -> None:
        steps.append(linear_step(name, (len(steps),), layer, what, part))

    for name, row in zip(network.names, network.table, strict=True):
        what = str(row)
        if isinstance(row, Conv):
            top, bottom, left, right = row.pads
            padding = (top, left) if (top, left) == (bottom, right) else (0, 0)
            if any(row.pads) and padding == (0, 0):
                plain(partial(functional.pad, pad=(left, right, top, bottom)))
            weight, bias = (p.detach() for p in network.parameters_of(name))
            linear(
                Convolution(weight, along_channels(bias, 2), row.stride, padding, (1, 1)), "conv"
            )
        elif isinstance(row, BatchNorm):
            module = network.get_submodule(name)
            assert isinstance(module, nn.BatchNorm2d)
            linear(norm_map(module, 2), "norm")
        elif isinstance(row, MaxPool):
            plain(partial(functional.max_pool2d, kernel_size=row.size, stride=row.stride), "pool")
        elif isinstance(row, Linear):
            if len(network.shape_before(name)) > 1:
                plain(partial(torch.flatten, start_dim=1))
            weight, bias = (p.detach() for p in network.parameters_of(name))
            linear(Dense(weight, bias), "dense")
        else:
            steps.append(Step(name, "relu", (len(steps),), functional.relu, what))
    return Graph(tuple(steps))
