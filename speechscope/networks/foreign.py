"""A network that is not ours: any ``torch.nn.Module``, by the name of what makes it.

`load_module` makes it and gives it its weights; `fitted` brings it to inputs of one shape, with
layers that can be named, counted and read as those of our own networks.
"""

import importlib
import operator
import pickle
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.errors import ArtifactError, SpeechscopeError, UsageProblem
from speechscope.networks.graph import Graph
from speechscope.networks.layers import Layered, Shape
from speechscope.networks.tracing import module_graph


def load_module(factory: str, weights: Path | None = None) -> nn.Module:
    """Return a network in evaluation mode.

    Parameters
    ----------
    factory
        ``package.module:name``: a module, or a function or class that gives one when called without
        arguments. The working directory is searched first.
    weights
        A file of tensors by name (``torch.save(network.state_dict(), file)``), or a dictionary with
        those under ``state_dict``. Nothing but tensors and plain types is loaded from it.

    Raises
    ------
    UsageProblem
        There is no such factory, or it gives something else.
    ArtifactError
        The weights cannot be read or do not fit the network.
    """
    network = _made(factory)
    if weights is not None:
        _fill(network, weights)
    return network.eval().requires_grad_(False)


def _made(factory: str) -> nn.Module:
    place, _, name = factory.partition(":")
    if not place or not name:
        raise UsageProblem(f"--model {factory}: give package.module:factory")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        made: Any = operator.attrgetter(name)(importlib.import_module(place))
        if not isinstance(made, nn.Module):
            made = made()
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageProblem(f"--model {factory}: {type(error).__name__}: {reason}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(made, nn.Module):
        raise UsageProblem(
            f"--model {factory}: expected a torch.nn.Module, found a {type(made).__name__}"
        )
    return made


def _fill(network: nn.Module, path: Path) -> None:
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(values, dict) and isinstance(values.get("state_dict"), dict):
            values = values["state_dict"]
        network.load_state_dict(values)
    except OSError as error:
        raise ArtifactError(f"--weights {path}: {error.strerror or error}") from error
    except (RuntimeError, TypeError, AttributeError, pickle.UnpicklingError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"--weights {path}: not the weights of {type(network).__name__} ({reason})"
        ) from error


FORMS = ("maps", "rows", "values")


class ForeignNetwork(Layered):
    """A network whose input is (B, C, F, T), whatever the shape its own layers take.

    Its layers are named as the module holds them, functions as tracing names them (relu, relu_1,
    max_pool2d), and counted in the order they run: convolutions, fully connected layers,
    normalisations, activations and pooling each count, as in our own networks; reshapes and
    padding do not. Where a module cannot be traced, its layers are the modules within it.

    Parameters
    ----------
    network
        The network, in evaluation mode.
    form
        ``maps``: as it is; ``rows``: (B, C × F, T), bins as channels, or a waveform as one channel;
        ``values``: (B, C × F × T).
    input_shape
        (C, F, T).
    shift
        Added to inputs first, (C, F, T): the mean of inputs that are centred; None adds nothing.
    """

    shift: Tensor | None

    def __init__(
        self, network: nn.Module, form: str, input_shape: Shape, shift: Tensor | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.form = form
        self.input_shape = tuple(input_shape)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network makes of inputs (B, C, F, T)."""
        if self.shift is not None:
            x = x + self.shift
        if self.form == "rows":
            x = x.flatten(1, 2)
        elif self.form == "values":
            x = x.flatten(1)
        scores: Tensor = self.network(x)
        return scores

    def shifted(self, shift: Tensor) -> "ForeignNetwork":
        """Return the same network for inputs that lack `shift` (C, F, T)."""
        return ForeignNetwork(self.network, self.form, self.input_shape, shift).eval()

    def trace(self, example: Tensor) -> Graph:
        """Return its steps, layers named as in the network itself.

        Raises
        ------
        SpeechscopeError
            See `module_graph.module_graph`.
        """
        graph = module_graph(self, example)
        steps = (replace(step, name=step.name.removeprefix("network.")) for step in graph.steps)
        return Graph(tuple(steps))

    @property
    def names(self) -> Sequence[str]:  # type: ignore[override]
        """Names of the layers, first layer first."""
        return tuple(self._layers)

    @property
    def shapes(self) -> Sequence[Shape]:  # type: ignore[override]
        """The output shape of one item at every layer."""
        return tuple(self._layers.values())

    def activations(self, x: Tensor, layers: Iterable[int | str]) -> dict[int, Tensor]:
        """Return the outputs (B, …) of several layers in one pass, by layer number.

        Of a layer that runs more than once, that of its last run.
        """
        names = self.names
        numbers = sorted({self.resolve(layer) for layer in layers})
        if self.shift is not None:
            x = x + self.shift
        if self._graph is not None:
            found = self._graph.outputs(x, [names[number - 1] for number in numbers])
        else:
            found = _recorded(self._unshifted, x)
        return {number: found[names[number - 1]] for number in numbers}

    @property
    def _unshifted(self) -> "ForeignNetwork":
        return ForeignNetwork(self.network, self.form, self.input_shape).eval()

    @cached_property
    def _graph(self) -> Graph | None:
        try:
            return self._unshifted.trace(self._example)
        except SpeechscopeError:
            return None

    @cached_property
    def _layers(self) -> dict[str, Shape]:
        with torch.no_grad():
            if self._graph is None:
                found = _recorded(self._unshifted, self._example)
            else:
                found = self._graph.outputs(self._example, self._graph.layers())
        return {name: tuple(values.shape[1:]) for name, values in found.items()}

    @property
    def _example(self) -> Tensor:
        """Three inputs that no layer maps to a constant."""
        first = next(self.network.parameters(), torch.empty(0))
        drawn = torch.randn(3, *self.input_shape, generator=torch.Generator().manual_seed(0))
        return drawn.to(first)


def _recorded(network: ForeignNetwork, x: Tensor) -> dict[str, Tensor]:
    """Return the outputs of all modules without modules in them, in the order they run."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, __: object, out: object) -> None:
        if isinstance(out, Tensor) and len(out) == len(x):
            outputs.pop(name, None)
            outputs[name] = out

    leaves = [(n, m) for n, m in network.network.named_modules() if n and not list(m.children())]
    handles = [module.register_forward_hook(partial(keep, name)) for name, module in leaves]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def fitted(network: nn.Module, shape: Shape) -> tuple[ForeignNetwork, int]:
    """Return a network for inputs of a shape, and how many scores it gives each.

    The first of `FORMS` is taken in which three inputs give three rows of scores.

    Parameters
    ----------
    network
        In evaluation mode.
    shape
        (C, F, T).

    Raises
    ------
    UsageProblem
        No form fits.
    """
    reasons = []
    for form in FORMS:
        candidate = ForeignNetwork(network, form, shape).eval()
        try:
            with torch.no_grad():
                scores = candidate(candidate._example)
        except Exception as error:
            reasons.append(f"{form}: {' '.join(str(error).split())[:100]}")
            continue
        if isinstance(scores, Tensor) and scores.dim() >= 2 and len(scores) == 3:
            return candidate, int(scores.shape[1])
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        reasons.append(f"{form}: gives {found}, not a row of scores an input")
    raise UsageProblem(
        f"--model: {type(network).__name__} takes no inputs of shape {shape} ({'; '.join(reasons)})"
    )
