"""Watching a network while it runs: every layer and function it calls, by name.

Nothing is traced or changed: PyTorch tells of its own calls (``TorchFunctionMode``), hooks that are
taken away again tell of modules. So layers have one name each, whatever the network's code is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from speechscope.networks.attention import DECOMPOSED

ENDINGS = ("softmax", "log_softmax", "sigmoid", "logsigmoid", "log", "exp")
"""Functions behind the last weights that leave the order of scores as it is."""


@dataclass(frozen=True)
class Call:
    """One call of a layer or of a function.

    Parameters
    ----------
    name
        Of the layer as the network holds it, or of the function: relu, relu_1, …; "" outside of
        the network.
    stem
        Of the function; "" of a layer.
    function, args, kwargs
        What was called.
    module
        The layer, if it is one.
    """

    name: str
    stem: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    module: nn.Module | None = None

    @property
    def what(self) -> str:
        """It in words."""
        return f"the function {self.stem}" if self.module is None else type(self.module).__name__


class Watch(TorchFunctionMode):
    """Is told of all that a network calls while it stands in ``with watch.over():``.

    A layer of PyTorch without others in it is one call; of all other modules the calls within are
    told, and that they begin and end.

    Parameters
    ----------
    network
        Whose layers and functions have names.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._taken = {name for name, _ in network.named_modules()}
        self._counts: dict[str, int] = {}
        self._inside = self._unit = False

    def called(self, call: Call, out: Any) -> Any:
        """Be told of a call and what it gave; return what it is to give."""
        return out

    def entered(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Be told that a module with others in it begins."""

    def left(self, name: str, out: Any) -> Any:
        """Be told what a module with others in it gave; return what it is to give."""
        return out

    def decided(self, function: str, args: Sequence[Any]) -> None:
        """Be told that a value was looked at."""

    @contextmanager
    def over(self) -> Iterator[None]:
        """Watch while the block runs."""
        handles = []
        for name, module in self.network.named_modules():
            if ".parametrizations" in name or isinstance(module, torch.jit.ScriptModule):
                continue
            before, after = partial(self._before, name), partial(self._after, name)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not name:
            self._inside, self._counts = True, {}
        if is_unit(module):
            self._unit = True
        elif name:
            self.entered(name, args, kwargs)

    def _after(self, name: str, module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        if is_unit(module):
            self._unit = False
            shown = name or type(module).__name__.lower()
            out = self.called(Call(shown, "", module, args, kwargs, module), out)
        elif name:
            out = self.left(name, out)
        if not name:
            self._inside = False
        return out

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        if self._unit:
            return func(*args, **kwargs)
        stem = stem_of(func)
        if stem in DECOMPOSED:
            with self, suppress(NotImplementedError):  # what cannot be written out is one call
                return DECOMPOSED[stem](*args, **kwargs)
        out = func(*args, **kwargs)
        if stem == "setitem":
            self.called(Call(self._named(stem), stem, func, args, kwargs), args[0])
        elif first_tensor(out) is not None:
            out = self.called(Call(self._named(stem), stem, func, args, kwargs), out)
        elif stem in ("bool", "item", "tolist", "float", "int", "index", "equal", "allclose"):
            self.decided(stem, args)
        return out

    def _named(self, stem: str) -> str:
        if not self._inside:
            return ""
        while True:
            count = self._counts.get(stem, 0)
            self._counts[stem] = count + 1
            name = f"{stem}_{count}" if count else stem
            if name not in self._taken:
                return name


def is_unit(module: nn.Module) -> bool:
    """Say whether a module is a layer of PyTorch's own."""
    inner = any(name != "parametrizations" for name, _ in module.named_children())
    own = str(getattr(type(module).forward, "__module__", "")).startswith("torch.nn.modules")
    return own and not inner and not isinstance(module, nn.MultiheadAttention)


def stem_of(function: Any) -> str:
    """Return the name of a function of PyTorch: add of torch.add, Tensor.__iadd__ and aten.add."""
    name = str(getattr(function, "__name__", function)).split(".")[0]
    if name == "__get__":
        return str(getattr(getattr(function, "__self__", None), "__name__", "get"))
    if name.startswith("__"):
        inner = name.strip("_")
        return inner[1:] if inner in IN_PLACE else inner
    return name.rstrip("_")


IN_PLACE = {f"i{name}" for name in ("add", "sub", "mul", "truediv", "pow", "floordiv", "mod")}


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in a value: itself, or of a tuple, a list, a dictionary, …."""
    return next(iter(tensors_in(value)), None)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a value in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, slice):
        yield from tensors_in([value.start, value.stop, value.step])


class Enough(BaseException):
    """All that was wanted of a run is there; no network takes it for an error of its own."""


class Keep(Watch):
    """Keeps what layers give, each as its last call of a run gives it, in the order of those calls.

    Parameters
    ----------
    wanted
        Names, and how often each is called; after the last call the run ends. None: all layers, of
        which only the sizes are kept.
    """

    def __init__(self, network: nn.Module, wanted: Mapping[str, int] | None = None) -> None:
        super().__init__(network)
        self.outputs: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self._wanted = wanted

    def called(self, call: Call, out: Any) -> Any:
        """See `Watch`."""
        return self.left(call.name, out)

    def left(self, name: str, out: Any) -> Any:
        """See `Watch`."""
        tensor = first_tensor(out)
        if tensor is None or not name or (self._wanted is not None and name not in self._wanted):
            return out
        self.counts[name] = self.counts.get(name, 0) + 1
        self.outputs.pop(name, None)
        if self._wanted is None:
            self.outputs[name] = tensor.detach().to("meta")
            return out
        # A later layer may work in place; nothing may change what is kept.
        self.outputs[name] = tensor.clone()
        if all(self.counts.get(key, 0) >= count for key, count in self._wanted.items()):
            raise Enough
        return out


class Source(Watch):
    """Finds, keeps or replaces what enters the first call of a layer.

    What enters is the output of an earlier call; ``number`` counts the calls to it from 1, 0 is the
    input of the network. With `given` the output of that call is replaced.
    """

    def __init__(
        self, network: nn.Module, layer: str, x: Tensor, number: int = -1,
        given: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(network)
        self.number, self.value = number, x
        self._layer, self._given, self._calls = layer, given, 0
        self._numbers = {id(x): 0}
        self._alive = [x]

    def called(self, call: Call, out: Any) -> Any:
        """See `Watch`."""
        self._calls += 1
        if call.name == self._layer:
            self.entered(call.name, call.args, call.kwargs)
        tensor = first_tensor(out)
        if self._calls == self.number and tensor is not None:
            self.value = tensor.clone()
            if self._given is None:
                raise Enough
            given = self._given.to(tensor.dtype, copy=True)  # it may be worked on in place
            return given if isinstance(out, Tensor) else replaced(out, given)
        for part in tensors_in(out) if self.number < 0 else ():
            self._numbers[id(part)] = self._calls
            self._alive.append(part)
        return out

    def entered(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """See `Watch`."""
        if name == self._layer and self.number < 0:
            known = [t for t in tensors_in([args, dict(kwargs)]) if id(t) in self._numbers]
            if known:
                self.number = self._numbers[id(known[0])]
                raise Enough


def replaced(out: Any, first: Tensor) -> Any:
    """Return a tuple or list with another first tensor."""
    parts = [first, *list(out)[1:]]
    return type(out)(parts) if type(out) in (tuple, list) else type(out)(*parts)


class Without(TorchFunctionMode):
    """Leaves out some calls of softmax, sigmoid and the like, counted from 0 in the order of a run.

    Parameters
    ----------
    left_out
        Which; none: only counts and keeps what they give.
    """

    def __init__(self, left_out: Sequence[int] = ()) -> None:
        super().__init__()
        self.found: list[tuple[str, Tensor]] = []
        self._left_out, self._count = left_out, 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `torch.overrides.TorchFunctionMode`."""
        kwargs = kwargs or {}
        stem = stem_of(func)
        if stem not in ENDINGS:
            return func(*args, **kwargs)
        number, self._count = self._count, self._count + 1
        if number in self._left_out:
            return args[0] if args else kwargs["input"]
        out = func(*args, **kwargs)
        if not self._left_out and isinstance(out, Tensor):
            self.found.append((stem, out))
        return out
