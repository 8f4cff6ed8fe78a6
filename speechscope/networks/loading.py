"""Making a network that is not ours: a factory, a TorchScript or exported file, or transformers.

Nothing that a file names is run: weights are safetensors or what ``weights_only`` admits, code that
comes with a model is never trusted. A factory is code that the user named.
"""

import importlib
import json
import operator
import os
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.errors import ArtifactError, UsageProblem
from speechscope.work.device import seeded

RANDOM = "random weights"
"""What is said where a network has no others."""


@dataclass(frozen=True)
class Loaded:
    """A network in evaluation mode.

    Parameters
    ----------
    network
        It.
    random
        Whether its weights are as they were drawn.
    classes
        Names of its scores, where they are known; empty otherwise.
    """

    network: nn.Module
    random: bool = False
    classes: Sequence[str] = ()


def load(model: str, weights: Path | None = None) -> Loaded:
    """Return a network and what is known of it.

    Parameters
    ----------
    model
        ``package.module:name``: a module, or a function or class that gives one when called without
        arguments, the working directory being searched first; the path of a TorchScript or
        torch.export file; or ``hf:`` and the name or folder of a model of transformers.
    weights
        A file of tensors by name (``torch.save(network.state_dict(), file)``), also in the usual
        wrappings: under ``state_dict``, ``model`` and the like, names with ``module.`` before them.
        Nothing but tensors and plain types is loaded from it.

    Raises
    ------
    UsageProblem
        There is no such network.
    ArtifactError
        The weights cannot be read or do not fit the network.
    """
    if model.startswith("hf:"):
        from speechscope.networks.hugging import from_transformers

        loaded = from_transformers(model.removeprefix("hf:"))
    elif ":" not in model and Path(model).is_file():
        loaded = Loaded(_from_file(Path(model)))
    else:
        loaded = _made(model, compared=weights is None)
    network = getattr(loaded.network, "_orig_mod", loaded.network)  # of torch.compile
    if isinstance(network, nn.DataParallel):
        network = network.module  # the wrapper wants its weights on devices of its own choice
    if weights is not None:
        _fill(network, weights)
        loaded = Loaded(network, False, loaded.classes)
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return Loaded(network, loaded.random, loaded.classes)


def _made(factory: str, *, compared: bool) -> Loaded:
    """Return what a factory makes; with `compared`, made twice to see if its weights are drawn."""
    place, _, name = factory.partition(":")
    if not place or not name:
        raise UsageProblem(
            f"--model {factory}: give package.module:factory, a file of TorchScript or "
            "torch.export, or hf:NAME_OR_FOLDER"
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        source: Any = operator.attrgetter(name)(importlib.import_module(place))
        made, again = _drawn(source, 0), None
        if compared and not isinstance(source, nn.Module):
            again = _drawn(source, 1)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UsageProblem(f"--model {factory}: {type(error).__name__}: {reason}") from error
    finally:
        sys.path.remove(here)
    if not isinstance(made, nn.Module):
        raise UsageProblem(
            f"--model {factory}: expected a torch.nn.Module, found a {type(made).__name__}"
        )
    if any(map(nn.parameter.is_lazy, (*made.parameters(), *made.buffers()))):
        raise UsageProblem(
            f"--model {factory}: has lazy layers, whose sizes are not known before the first "
            "input: have a factory call it once, and return it"
        )
    return Loaded(made, isinstance(again, nn.Module) and _differ(made, again))


def _drawn(source: Any, seed: int) -> Any:
    """Return what a factory makes from a seed: the same in every run."""
    if isinstance(source, nn.Module):
        return source
    with seeded(seed):
        return source()


def _differ(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=False)
    return any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def _from_file(path: Path) -> nn.Module:
    """Return the network of a TorchScript or exported file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
            texts = [archive.read(n) for n in archive.namelist() if n.endswith(".json")]
    except (OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"--model {path}: neither TorchScript nor torch.export") from error
    scripted = any(name.startswith("code/") for name in names)
    if not scripted and not any(name.startswith("models/") for name in names):
        raise UsageProblem(
            f"--model {path}: holds weights alone; name what makes the network by --model "
            f"package.module:factory, with --weights {path}"
        )
    try:
        with warnings.catch_warnings():
            return _opened(path, scripted, names, texts)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ArtifactError(f"--model {path}: {type(error).__name__}: {reason}") from error


def _opened(path: Path, scripted: bool, names: Sequence[str], texts: Sequence[bytes]) -> nn.Module:
    """Return the network of a file whose parts have been looked at."""
    if scripted:
        warnings.simplefilter("ignore")  # the format is deprecated; its files are not gone
        network: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        return network
    if any("aotinductor" in name or name.startswith("extra/") for name in names):
        raise ValueError("it holds compiled code, which is not run")
    for text in texts:
        _harmless(json.loads(text))
    with _weights_only():
        return _Exported(torch.export.load(path).module())


class _Exported(nn.Module):
    """An exported network; it has no evaluation mode, being in the one it was exported in."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.wrapped = network

    def train(self, mode: bool = True) -> "_Exported":
        """Change nothing."""
        return self

    def forward(self, x: Tensor) -> Any:
        """Return what the network gives."""
        return self.wrapped(x)


OPERATORS = re.compile(
    r"torch\.ops\.(aten|higher_order)\.\w+(\.\w+)?|torch\.sym_\w+"
    r"|_operator\.(getitem|i?add|i?sub|i?mul|floordiv|truediv|mod|pow|neg|eq|ne|gt|ge|lt|le)"
)
"""What an exported file may call."""


def _harmless(part: Any) -> None:
    """Refuse an exported file that would have Python do more than compute with tensors.

    Expressions of sizes are evaluated as Python, operators are found by their names, and objects
    that are not tensors are unpickled.

    Raises
    ------
    ValueError
        It would.
    """
    if isinstance(part, list):
        for inner in part:
            _harmless(inner)
    if not isinstance(part, dict):
        return
    for key, inner in part.items():
        text = inner if isinstance(inner, str) else ""
        if key == "expr_str" and not re.fullmatch(
            r"[\w\s+*/(),<>=&|~%-]*", text.replace("__", "'")
        ):
            raise ValueError(f"the size {text[:40]} is not a sum or product")
        if key == "target" and text and not OPERATORS.fullmatch(text):
            raise ValueError(f"it calls {text[:40]}, which is not an operator of tensors")
        if inner is True and key == "use_pickle":
            raise ValueError("it holds pickled objects")
        if key == "path_name" and text.startswith(("opaque_obj_", "custom_obj_")):
            raise ValueError("it holds objects that are not tensors")
        _harmless(inner)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Let PyTorch load nothing but tensors, whoever asks, while the block runs."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def _fill(network: nn.Module, path: Path) -> None:
    try:
        values = _read(path)
        network.load_state_dict(_unwrapped(values, network))
    except OSError as error:
        raise ArtifactError(f"--weights {path}: {error.strerror or error}") from error
    except (
        RuntimeError, TypeError, AttributeError, ValueError, pickle.UnpicklingError, EOFError
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"--weights {path}: not the weights of {type(network).__name__} ({reason})"
        ) from error


def _read(path: Path) -> Any:
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UsageProblem(
            f"--weights {path}: needs safetensors (pip install safetensors)"
        ) from error
    return load_file(path)


def _unwrapped(values: Any, network: nn.Module) -> Any:
    """Return the weights among what a file holds: wrapped, or with something before their names.

    Raises
    ------
    ValueError
        Several parts of the file fit.
    """
    wanted = network.state_dict()
    if not isinstance(values, Mapping):
        return values
    parts = {"": values} | {k: v for k, v in values.items() if isinstance(v, Mapping)}
    fitting = {name: found for name, part in parts.items() if (found := _named(part, wanted))}
    for usual in ("", "state_dict", "model_state_dict", "model", *fitting):
        if usual in fitting:
            if usual not in ("", "state_dict", "model_state_dict", "model") and len(fitting) > 1:
                raise ValueError(f"{', '.join(map(str, fitting))} all fit")
            return fitting[usual]
    return values.get("state_dict", values)


def _named(part: Mapping[Any, Any], wanted: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the tensors of a part by the names of a network, if it has all of them."""
    names = [str(key) for key in part]
    first = next(iter(wanted), None)
    if first is None:
        return None
    for name in (first, *(n for n in names if n.endswith(f".{first}"))):
        before = name.removesuffix(first)
        found = {n.removeprefix(before): part[n] for n in part if str(n).startswith(before)}
        if all(isinstance(found.get(key), Tensor) for key in wanted):
            # Of a module wrapped alone, what is too much is an error as it always was.
            return found if not before or before in WRAPS else {k: found[k] for k in wanted}
    return None


WRAPS = ("module.", "_orig_mod.")
