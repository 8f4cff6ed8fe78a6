"""A network that is not ours, brought to inputs of one shape and to scores (B, classes, …).

`speechscope.networks.loading` makes it; `fitted` finds the order of its axes and what of its
outputs are scores, and refuses where more than one answer is possible. Layers can be named, counted
and read as those of our own networks.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.axes import FORMS, OTHER, OWN, check, ordered, parsed
from speechscope.networks.endings import Endings, endings
from speechscope.networks.graph import Graph
from speechscope.networks.layers import Layered, Shape
from speechscope.networks.tracing import CLOSE, module_graph
from speechscope.networks.watching import Enough, Keep, Source, Without


@dataclass(frozen=True)
class Taking:
    """How a network is given inputs, and what of its outputs are scores.

    Parameters
    ----------
    form
        A name of `FORMS`, or an order of axes; "": as they are.
    scores
        Which output: the key or attribute of a dictionary or object, the number of one of several,
        or the name of a layer; "": the only one there is.
    order
        Of scores: ``bv``, ``b``, ``bvt``, ``btv`` (times before symbols) or ``tbv``; "": bv….
    alone
        Whether items are given one at a time, because what is given for one depends on the others.
    ending
        Softmax or sigmoid behind the last weights.
    times
        The places along time whose scores are taken; None: all.
    text, blank
        Symbols whose score by CTC is the only one, and the symbol between repeated ones.
    also
        Other orders of axes in which it takes inputs, with other answers.
    """

    form: str
    scores: str = ""
    order: str = ""
    alone: bool = False
    ending: Endings = field(default_factory=Endings)
    times: tuple[int, int] | None = None
    text: tuple[int, ...] = ()
    blank: int = 0
    also: tuple[str, ...] = ()


class ForeignNetwork(Layered):
    """A network whose input is (B, C, F, T) and whose scores are (B, classes, …), in single.

    Its layers are named as the module holds them, functions by their names (relu, relu_1,
    max_pool2d), and counted in the order they run: convolutions, fully connected layers,
    normalisations, activations and pooling each count, as in our own networks; reshapes and
    padding do not. Modules with others in them (encoder.layers.5) have a name and no number.

    Parameters
    ----------
    network
        The network, in evaluation mode.
    taking
        How it takes inputs and gives scores; a name of `FORMS` stands for the form alone.
    example
        Inputs (B, C, F, T), by which layers are found, or the shape (C, F, T) of one.
    shift
        Added to inputs first, (C, F, T): the mean of inputs that are centred; None adds nothing.
    """

    shift: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        taking: Taking | str,
        example: Tensor | Shape,
        shift: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.taking = Taking(taking) if isinstance(taking, str) else taking
        self.example = example if isinstance(example, Tensor) else _drawn(example)
        self.input_shape = tuple(self.example.shape[1:])
        self.register_buffer("shift", shift)
        weights = [p for p in network.parameters() if p.is_floating_point()]
        self._kind = weights[0].dtype if weights else torch.float32
        self._recurrent = any(isinstance(m, nn.RNNBase) for m in network.modules())

    @property
    def root(self) -> nn.Module:
        """The module whose layers have names: the network, or what it is wrapped around."""
        inner = getattr(self.network, "wrapped", None)
        return inner if isinstance(inner, nn.Module) else self.network

    @property
    def form(self) -> str:
        """How it takes inputs."""
        return self.taking.form

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (B, classes, …) of inputs (B, C, F, T)."""
        if self.taking.alone and len(x) > 1:
            return torch.cat([self._scores(part) for part in x.chunk(len(x))])
        return self._scores(x)

    def outputs(self, x: Tensor) -> Any:
        """Return all that the network gives for inputs, as it gives it."""
        if self.shift is not None:
            x = x + self.shift
        if self.form:
            x = ordered(x, parsed(self.form))
        if x.dtype != self._kind:
            x = x.to(self._kind)
        skipped = self.taking.ending.skipped
        # cuDNN goes back through recurrent layers in training only.
        plain = x.is_cuda and self._recurrent
        with torch.backends.cudnn.flags(enabled=False) if plain else nullcontext():
            with Without(skipped) if skipped else nullcontext(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of code that is not ours, about itself
                return self.network(x)

    def _scores(self, x: Tensor) -> Tensor:
        name = self.taking.scores
        if name and name in _modules(self.root):
            watch = Keep(self.root, {name: 1})
            _run(watch, lambda: self.outputs(x))
            out = watch.outputs[name]
        else:
            out = picked(self.outputs(x), name)
        if len(x) == 1 and 1 not in out.shape:
            out = out[None]  # squeezed together with the axis of items
        return normal(out, self.taking)

    def shifted(self, shift: Tensor) -> "ForeignNetwork":
        """Return the same network for inputs that lack `shift` (C, F, T)."""
        moved = ForeignNetwork(self.network, self.taking, self.example - shift, shift)
        return moved.eval()

    def cut(self, length: int) -> "ForeignNetwork":
        """Return the same network for inputs so long, its layers as they are."""
        shift = None if self.shift is None else self.shift[..., :length]
        found = ForeignNetwork(self.network, self.taking, self.example[..., :length], shift)
        known = ("_kept", "_layers", "_every")
        found.__dict__.update({n: self.__dict__[n] for n in known if n in self.__dict__})
        return found.eval()

    def ended(self) -> Taking:
        """Return how it is used with what stands behind its last weights found."""
        return replace(self.taking, ending=endings(self, self.example[:1]))

    def at(self, start: int, stop: int) -> "ForeignNetwork":
        """Return the same network with the scores of some places along time alone."""
        taking = replace(self.taking, times=(start, stop))
        return ForeignNetwork(self.network, taking, self.example, self.shift).eval()

    def of_text(self, symbols: tuple[int, ...], blank: int) -> "ForeignNetwork":
        """Return the same network with log P(symbols) by CTC as its only score."""
        taking = replace(self.taking, text=symbols, blank=blank)
        return ForeignNetwork(self.network, taking, self.example, self.shift).eval()

    def trace(self, example: Tensor) -> Graph:
        """Return its steps for inputs like an example, layers named as in the network itself.

        Raises
        ------
        SpeechscopeError
            See `tracing.module_graph`.
        """
        return module_graph(self, example, self.root, 0.1 if self.coarse else CLOSE)

    @property
    def coarse(self) -> bool:
        """Whether it computes in half precision."""
        return self._kind.itemsize < 4

    @property
    def names(self) -> Sequence[str]:  # type: ignore[override]
        """Names of the layers that are counted, first layer first."""
        return tuple(self._layers)

    @property
    def shapes(self) -> Sequence[Shape]:  # type: ignore[override]
        """The output shape of one item at every layer that is counted."""
        return tuple(self._layers.values())

    def name(self, layer: int | str) -> str:
        """Return the name of a layer or function given by number or name, counted or not.

        Raises UsageProblem when the network has no such layer.
        """
        if layer in self._kept:
            return str(layer)
        return self.names[self.resolve(layer) - 1]

    def resolve(self, layer: int | str) -> int:
        """See `Layered`; modules with others in them come after those that are counted."""
        names = list(self._every)
        if isinstance(layer, int) and 1 <= layer <= len(names):
            return layer
        if not names:
            raise UsageProblem(
                f"layer {layer}: a network of TorchScript cannot be looked into; the module it was "
                "made from, or torch.export's, can"
            )
        if layer in names:  # a name may be a number, as in nn.Sequential
            return names.index(str(layer)) + 1
        return super().resolve(layer)

    @cached_property
    def _every(self) -> tuple[str, ...]:
        """Names of the layers that are counted, then of all other modules that give tensors."""
        counted, modules = self.names, _modules(self.root)
        return (*counted, *(n for n in self._kept if n in modules and n not in counted))

    def named(self, number: int) -> str:
        """Return the name of the layer of a number."""
        return self._every[number - 1]

    def activations(self, x: Tensor, layers: Iterable[int | str]) -> dict[int, Tensor]:
        """Return the outputs (B, …) of several layers in one pass, by layer number.

        Of a layer that runs more than once, that of its last run; of one that gives several
        tensors, the first. Complex values are pairs of real ones.
        """
        numbers = sorted({self.resolve(layer) for layer in layers})
        names = [self.named(n) for n in numbers]
        alone = self.taking.alone or not all(self._kept[name][2] for name in names)
        if alone and len(x) > 1:
            parts = [self.activations(part, numbers) for part in x.chunk(len(x))]
            return {n: torch.cat([part[n] for part in parts]) for n in numbers}
        watch = Keep(self.root, {name: self._kept[name][1] for name in names})
        _run(watch, lambda: self.outputs(x))
        missing = set(names) - set(watch.outputs)
        if missing:
            raise SpeechscopeError(f"layer {', '.join(missing)}: does not run for every input")
        found = {n: _real(watch.outputs[name]) for n, name in zip(numbers, names, strict=True)}
        return {
            n: v if self._kept[self.named(n)][2] else (v if v.dim() else v[None])[None]
            for n, v in found.items()
        }

    def entry(
        self, layer: int | str
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """Return what enters a layer's first call, of inputs, and the scores, of what enters it.

        Raises
        ------
        UsageProblem
            There is no such layer, or something goes around it.
        """
        enter, number = self.entering(layer)
        if number == 0:
            return enter, self
        name, example = self.name(layer), self.example[:1]
        rows = self._rows(enter(example))

        def after(z: Tensor) -> Tensor:
            if len(z) > 1 and (self.taking.alone or not rows):
                return torch.cat([after(part) for part in z.chunk(len(z))])
            given = Source(self.root, name, z, number, z if rows else z[0])
            many = carrier.expand(len(z), *carrier.shape[1:])  # a call that is not to be counted
            with given.over():
                return self._scores(many)

        carrier = example
        with torch.no_grad():
            z, wanted = enter(example), self(example)
            carrier = example.flip(-1) / 2
            apart = (after(z) - wanted).abs().max()
            if bool(apart > 1e-4 * wanted.abs().max()):
                raise UsageProblem(f"layer {layer}: other connections go around it")
            carrier = example
        return enter, after

    def entering(self, layer: int | str) -> tuple[Callable[[Tensor], Tensor], int]:
        """Return what enters a layer's first call, as a function of inputs, and the call it is of.

        Rows are items; of values that have no axis of items, each item's are a row. The number is 0
        where the inputs themselves enter.

        Raises
        ------
        UsageProblem
            There is no such layer, or nothing of the input enters it.
        """
        name, example = self.name(layer), self.example[:1].clone()
        watch = Source(self.root, name, example)
        with torch.no_grad():
            _run(watch, lambda: self._scores(example))
        if watch.number < 0:
            raise UsageProblem(f"layer {layer}: nothing that comes from the input enters it")
        number = watch.number

        def run(x: Tensor) -> Tensor:
            source = Source(self.root, name, x, number)
            _run(source, lambda: self._scores(x))
            return source.value

        if number == 0:
            return lambda x: x, 0
        with torch.no_grad():
            value = run(example)
        if value.is_complex():
            raise UsageProblem(f"layer {layer}: what enters it is complex")
        rows = self._rows(value)

        def enter(x: Tensor) -> Tensor:
            if rows and not (self.taking.alone and len(x) > 1):
                return run(x).float()
            parts = [run(part).float() for part in x.chunk(len(x))]
            return torch.cat(parts) if rows else torch.stack(parts)

        return enter, number

    def _rows(self, value: Tensor) -> bool:
        """Say whether the first axis of what one item gives is that of items."""
        return value.dim() > 1 and len(value) == 1

    @cached_property
    def _kept(self) -> dict[str, tuple[Shape, int, bool]]:
        """Of all layers, what one item gives: its shape, the calls, and whether rows are items."""
        found = []
        for x in (self.example[:1], self.example[:1].expand(2, *self.input_shape)):
            watch = Keep(self.root)
            with torch.no_grad():
                _run(watch, lambda x=x: self.outputs(x))  # type: ignore[misc]
            found.append(watch)
            if self.taking.alone:
                found = [watch, watch]
                break
        one, two = found
        kept = {}
        for name, value in one.outputs.items():
            count = len(two.outputs[name]) if two.outputs[name].dim() else 0
            rows = value.dim() > 1 and len(value) == 1 and (count == 2 or one is two)
            shape = (*value.shape, *(2,) * value.is_complex())
            kept[name] = (shape[1:] if rows else shape or (1,), one.counts[name], rows)
        return kept

    @cached_property
    def frames(self) -> dict[str, tuple[int, float]]:
        """Of layers that run along time: which axis of an item it is, and places of input a frame.

        Scores are "". How much longer a layer is for a longer input tells it, layer by layer: from
        one to the next that is a whole number.
        """
        length = self.input_shape[-1]
        shapes: list[dict[str, Shape]] = []
        for size in (length // 2, length):
            watch = Keep(self.root)
            with torch.no_grad(), watch.over():
                scores = self(self.example[:1, ..., :size])
            shapes.append({n: tuple(value.shape) for n, value in watch.outputs.items()})
            shapes[-1][""] = tuple(scores.shape)
        step, before, found = 1.0, length - length // 2, dict[str, tuple[int, float]]()
        for name, shape in shapes[1].items():
            half = shapes[0].get(name, ())
            grown = [n for n, (a, b) in enumerate(zip(half, shape, strict=False)) if b > a]
            if len(grown) != 1 or len(half) != len(shape):
                continue
            added = shape[grown[0]] - half[grown[0]]
            step *= round(before / added) if added <= before else 1 / round(added / before)
            before = added
            found[name] = grown[0] - (not name or self._kept[name][2]), step
        return found

    @cached_property
    def _layers(self) -> dict[str, Shape]:
        try:
            found: Iterable[str] = self.trace(self.example[:1]).layers()
        except SpeechscopeError:
            modules = self.root.named_modules()
            found = {n for n, m in modules if n and not list(m.children())}
        # In the order of their last calls.
        return {name: kept[0] for name, kept in self._kept.items() if name in found}

    def said(self) -> dict[str, Any]:
        """Return what a record says of how it is used."""
        ending = self.taking.ending
        said: dict[str, Any] = {"form": self.form, "axes": FORMS.get(self.form, self.form)}
        order = self.taking.order
        said["scores"] = f"{self.taking.scores}:{order}" if order else self.taking.scores
        if ending.names:
            said["before"] = ", ".join(ending.names)
        if ending.kept:
            said["behind"] = ending.kept
        if self.taking.alone:
            said["alone"] = True
        return said


def _run(watch: Keep | Source, run: Callable[[], Any]) -> None:
    """Run a network while it is watched, as far as the watch wants."""
    try:
        with watch.over():
            run()
    except Enough:
        pass


def _modules(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_modules() if name}


def _real(values: Tensor) -> Tensor:
    values = torch.view_as_real(values) if values.is_complex() else values
    return values if values.dtype == torch.float32 else values.to(torch.float32)


def picked(out: Any, name: str) -> Tensor:
    """Return the scores among what a network gives.

    Raises
    ------
    UsageProblem
        There are several outputs and none is named, or not the one that is.
    """
    if isinstance(out, Tensor) and not name:
        return out
    tensors = dict(_outputs(out))
    found = {id(v): v for k, v in tensors.items() if not name or f"{k}.".startswith(f"{name}.")}
    if len(found) != 1:
        listed = ", ".join(f"{key} {tuple(value.shape)}" for key, value in tensors.items())
        raise UsageProblem(
            f"--scores {name}: the network gives {listed or type(out).__name__}"
            if name
            else f"it gives several outputs ({listed}): choose by --scores"
        )
    return next(iter(found.values()))


def _outputs(out: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in what a network gives by key, attribute or number: out.scores."""
    held: Mapping[Any, Any] = {}
    if isinstance(out, Mapping):
        held = out
    elif isinstance(out, tuple | list):
        held = dict(enumerate(out)) | getattr(out, "_asdict", dict)()
    elif not isinstance(out, Tensor):
        held = getattr(out, "__dict__", {})
    for key, value in held.items():
        if isinstance(value, Tensor):
            yield str(key), value
        elif isinstance(value, Mapping | tuple | list):
            yield from ((f"{key}.{inner}", tensor) for inner, tensor in _outputs(value))


def normal(out: Tensor, taking: Taking) -> Tensor:
    """Return scores as (B, classes, …), in single precision."""
    if out.is_complex():
        raise UsageProblem("its scores are complex: name a layer with real ones by --scores")
    if not out.is_floating_point():
        raise UsageProblem(
            "its output is whole numbers, which are no scores (of an argmax, a decision): name the "
            "layer that gives the scores by --scores"
        )
    if out.dim() < 2:
        out = out.reshape(-1, 1)
    if taking.order == "tbv":
        out = out.permute(1, 2, 0)
    if taking.order == "btv":
        out = out.transpose(1, 2)
    if taking.times is not None:
        there = out[..., slice(*taking.times)]
        # Of an input that does not reach there nothing is said.
        out = there if there.shape[-1] else out[..., :1] * torch.nan
    if taking.text:
        out = _ctc(out.float(), taking)
    return out if out.dtype == torch.float32 else out.to(torch.float32)


def _ctc(scores: Tensor, taking: Taking) -> Tensor:
    """Return log P(text), (B, 1), of scores (B, symbols, T) before softmax."""
    count, _, frames = scores.shape
    text = torch.tensor(taking.text, device=scores.device).expand(count, -1)
    sizes = [torch.full((count,), size) for size in (frames, len(taking.text))]
    steps = scores.permute(2, 0, 1).log_softmax(2)
    loss = torch.nn.functional.ctc_loss(
        steps, text, sizes[0], sizes[1], taking.blank, reduction="none"
    )
    return -loss[:, None]


def _drawn(shape: Shape) -> Tensor:
    """Return three inputs that no layer maps to a constant."""
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))


def fitted(
    network: nn.Module, example: Tensor | Shape, axes: str | None = None, scores: str | None = None
) -> tuple[ForeignNetwork, int]:
    """Return a network for inputs of a shape, and how many scores it gives each.

    Parameters
    ----------
    network
        In evaluation mode.
    example
        Some inputs (B, C, F, T), on its device, or the shape (C, F, T) of one.
    axes
        The order it takes them in; None: one as the corpus has them, C, F, T, where it takes that,
        else time before frequency.
    scores
        Which of its outputs, and the order of their axes: NAME, :btv or NAME:btv; see `Taking`.

    Raises
    ------
    UsageProblem
        No order fits, or several do and differ; which outputs are scores is not clear.
    """
    if not isinstance(example, Tensor):
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        example = _drawn(example).to(device)
    name, _, order = (scores or "").partition(":")
    if order not in ("", "b", "bv", "bvt", "btv", "tbv"):
        raise UsageProblem(f"--scores {scores}: after the colon give bv, bvt, btv or tbv")
    tried = (*OWN, *OTHER) if axes is None else (_known(axes),)
    reasons: list[str] = []
    fits: dict[str, Fit] = {}
    for form in tried:
        if axes is not None:
            check(parsed(form), tuple(example.shape[1:]), axes)
        candidate, reason = _tried(network, Taking(form, name, order), example)
        if candidate is None:
            reasons.append(f"{FORMS.get(form, form)}: {reason}")
        elif not any(_same(candidate[1], other[1]) for other in fits.values()):
            fits[form] = candidate
    own = [form for form in fits if form in OWN] or list(fits)
    if not own:
        shape = tuple(example.shape[1:])
        raise UsageProblem(
            f"--model: {type(network).__name__} takes no inputs of shape {shape} "
            f"({'; '.join(reasons)})"
        )
    if len(own) > 1:
        orders = " and ".join(FORMS[form] for form in own)
        raise UsageProblem(
            f"--model: {type(network).__name__} takes inputs as {orders}, with other answers: say "
            f"which by --axes {FORMS[own[0]]}"
        )
    also = tuple(FORMS[form] for form in fits if form != own[0])
    return _finished(network, replace(fits[own[0]][0], also=also), example)


def as_foreign(network: nn.Module, example: Tensor) -> ForeignNetwork:
    """Return any module that takes inputs as an example (B, …) is, its softmax at the end found."""
    if isinstance(network, ForeignNetwork):
        return network
    found = ForeignNetwork(network, "", example)
    return ForeignNetwork(network, found.ended(), example).eval()


def _known(axes: str) -> str:
    """Return the name of an order that has one, else the order."""
    wanted = parsed(axes)
    return next((name for name, order in FORMS.items() if parsed(order) == wanted), axes)


Fit = tuple[Taking, Tensor]


def _tried(network: nn.Module, taking: Taking, example: Tensor) -> tuple[Fit | None, str]:
    """Return how a network takes inputs and the scores it gives, or why it does not."""
    reason = ""
    for way in (taking, replace(taking, alone=True)):
        candidate = ForeignNetwork(network, way, example).eval()
        try:
            with torch.no_grad():
                scores, again = candidate(example), candidate(example)
        except UsageProblem:
            raise
        except Exception as error:
            # An explanation of our own is better than what an item alone meets.
            reason = reason or " ".join(str(error).split())[:160]
            continue
        if scores.dim() < 2 or len(scores) != len(example):
            reason = reason or f"gives {tuple(scores.shape)}, not a row of scores an input"
            if scores.dim() == 3 and scores.shape[1] == len(example) and not way.alone:
                reason += "; if time comes first, --scores :tbv"
            continue
        if not _same(scores, again):
            raise UsageProblem(
                f"--model: {type(network).__name__} gives another answer every time: something in "
                "it draws at random, or is kept from call to call (a dropout that is always on?)"
            )
        if not way.alone:
            alone = ForeignNetwork(network, replace(way, alone=True), example).eval()
            try:
                with torch.no_grad():
                    depends = not _same(scores, alone(example), 1e-3)
            except Exception:
                depends = False
            if depends:
                continue
        return (way, scores), ""
    return None, reason


def _same(one: Tensor, other: Tensor, close: float = 1e-5) -> bool:
    """Say whether scores are the same but for rounding; not a number is itself."""
    if one.shape != other.shape:
        return False
    scale = float(one[one.isfinite()].abs().max()) if bool(one.isfinite().any()) else 1.0
    return torch.allclose(one, other, rtol=close, atol=close * scale, equal_nan=True)


def _finished(network: nn.Module, taking: Taking, example: Tensor) -> tuple[ForeignNetwork, int]:
    """Return a network with the order of its scores, and what stands behind its last weights."""
    candidate = ForeignNetwork(network, taking, example).eval()
    with torch.no_grad():
        scores = candidate(example)
    if scores.dim() == 3 and not taking.order:
        taking = replace(taking, order=_order(candidate, scores))
        candidate = ForeignNetwork(network, taking, example).eval()
    candidate = ForeignNetwork(network, candidate.ended(), example).eval()
    with torch.no_grad():
        return candidate, int(candidate(example).shape[1])


def _order(network: ForeignNetwork, scores: Tensor) -> str:
    """Return which axis of scores (B, …, …) is time: the one that grows with the input.

    Raises
    ------
    UsageProblem
        Neither does, or both, or the network takes no shorter or longer inputs.
    """
    example = network.example[:2]
    for other in (example[..., : example.shape[-1] // 2], torch.cat([example, example], -1)):
        try:
            with torch.no_grad():
                found = ForeignNetwork(network.network, network.taking, other).eval()(other)
        except Exception:
            continue
        changed = [a != b for a, b in zip(scores.shape[1:], found.shape[1:], strict=True)]
        if changed == [True, False]:
            return "btv"
        if changed == [False, True]:
            return "bvt"
    raise UsageProblem(
        f"--model: which axis of scores {tuple(scores.shape)} is time cannot be told: say "
        "--scores :btv or --scores :bvt (items, times, symbols)"
    )
