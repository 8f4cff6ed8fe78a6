"""A network that is not ours: any ``torch.nn.Module``, by the name of what makes it."""

import importlib
import operator
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.errors import ArtifactError, UsageProblem


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


class Fitted(nn.Module):
    """A network whose input is (B, C, F, T), whatever the shape its own layers take.

    Parameters
    ----------
    network
        The network.
    form
        ``maps``: as it is; ``rows``: (B, C × F, T), bins as channels, or a waveform as one channel;
        ``values``: (B, C × F × T).
    """

    FORMS = ("maps", "rows", "values")

    def __init__(self, network: nn.Module, form: str) -> None:
        super().__init__()
        self.network = network
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network makes of inputs (B, C, F, T)."""
        if self.form == "rows":
            x = x.flatten(1, 2)
        elif self.form == "values":
            x = x.flatten(1)
        scores: Tensor = self.network(x)
        return scores


def fitted(network: nn.Module, shape: tuple[int, ...]) -> tuple[Fitted, int]:
    """Return a network for inputs of a shape, and how many scores it gives each.

    The first of the forms of `Fitted` is taken in which three inputs give three rows of scores.

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
    first = next(network.parameters(), torch.empty(0))
    example = torch.zeros(3, *shape, dtype=first.dtype, device=first.device)
    reasons = []
    for form in Fitted.FORMS:
        candidate = Fitted(network, form).eval()
        try:
            with torch.no_grad():
                scores = candidate(example)
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
