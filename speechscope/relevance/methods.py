"""The methods by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor
from torch.nn import functional

from speechscope.errors import UsageProblem
from speechscope.relevance.grad_cam import grad_cam
from speechscope.relevance.gradient import gradient_times_input, sensitivity, smoothgrad
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.integrated import integrated_gradients
from speechscope.relevance.lrp import lrp, lrp_with_sums
from speechscope.relevance.networks import Explained
from speechscope.relevance.occlusion import occlusion
from speechscope.relevance.rules import Composite, composite


@dataclass(frozen=True)
class RelevanceSettings:
    """Settings of all methods; each uses its own.

    Parameters
    ----------
    rule, epsilon, gamma, alpha
        Of `lrp`; see `rules.composite`.
    steps
        Of `integrated`.
    samples, noise
        Of `smoothgrad`.
    patch, stride
        Of `occlusion`: (bins, frames).
    cam_layer
        Of `grad-cam`: the layer whose input is weighted.
    shifts
        Of all; see `over_shifts`.
    """

    rule: str
    epsilon: float
    gamma: float
    alpha: float
    steps: int
    samples: int
    noise: float
    patch: tuple[int, int]
    stride: tuple[int, int]
    cam_layer: str | None = None
    shifts: int = 1


def relevance_settings(values: Mapping[str, Any]) -> RelevanceSettings:
    """Return the settings that the values of ``relevance`` in `speechscope.recipes` stand for.

    Raises
    ------
    UsageProblem
        ``patch`` or ``stride`` is not BINSxFRAMES.
    """
    plain = ("rule", "epsilon", "gamma", "alpha", "steps", "samples", "noise")
    return RelevanceSettings(
        **{name: values[name] for name in plain},
        patch=_area("patch", values["patch"]),
        stride=_area("stride", values["stride"]),
        shifts=values.get("shifts", 1),  # records from before there were any have none
    )


def _area(name: str, text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageProblem(f"--{name} {text}: give BINSxFRAMES, such as 10x4")
    return int(parts[0]), int(parts[1])


Method: TypeAlias = Callable[[Explained, Tensor, Tensor, RelevanceSettings, Sequence[int]], Tensor]
"""(what is explained, inputs, targets, settings, a seed an item) → relevance shaped as inputs."""


def _composite(s: RelevanceSettings) -> Composite:
    return composite(s.rule, epsilon=s.epsilon, gamma=s.gamma, alpha=s.alpha)


def propagated(
    of: Explained, x: Tensor, target: Tensor, s: RelevanceSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the relevance that ``lrp`` gives, and its sum at every layer; see `lrp_with_sums`."""
    return lrp_with_sums(of.steps(), x, target, _composite(s))


def _grad_cam(
    of: Explained, x: Tensor, target: Tensor, s: RelevanceSettings, _: Sequence[int]
) -> Tensor:
    graph = of.steps()
    layer = s.cam_layer
    if layer is None:
        # What the last convolution and its activation give, before any pooling.
        steps = graph.steps
        place = max((n for n, step in enumerate(steps, 1) if step.part == "conv"), default=1)
        while steps[place].kind in ("relu", "activation") or steps[place].part == "norm":
            place += 1
        layer = steps[place].name
    return grad_cam(graph, x, target, layer)


METHODS: dict[str, Method] = {
    "gradient": lambda of, x, target, s, _: sensitivity(of.scores, x, target),
    "gradient-x-input": lambda of, x, target, s, _: gradient_times_input(of.scores, x, target),
    "guided": lambda of, x, target, s, _: guided_backpropagation(of.steps(), x, target),
    "lrp": lambda of, x, target, s, _: lrp(of.steps(), x, target, _composite(s)),
    "integrated": lambda of, x, target, s, _: integrated_gradients(
        of.scores, x, target, steps=s.steps
    ),
    "smoothgrad": lambda of, x, target, s, seeds: smoothgrad(
        of.scores, x, target, samples=s.samples, noise=s.noise, seeds=seeds
    ),
    "grad-cam": _grad_cam,
    "occlusion": lambda of, x, target, s, _: occlusion(
        of.scores, x, target, patch=s.patch, stride=s.stride
    ),
}


def relevance_by(
    name: str,
    of: Explained,
    x: Tensor,
    target: Tensor,
    settings: RelevanceSettings,
    seeds: Sequence[int],
) -> Tensor:
    """Return the relevance that a method gives, over shifts where the settings ask for it."""
    method = METHODS[name]
    return over_shifts(lambda values: method(of, values, target, settings, seeds), x, settings)


def over_shifts(
    method: Callable[[Tensor], Tensor], x: Tensor, settings: RelevanceSettings
) -> Tensor:
    """Return the mean relevance of a waveform over places of the network's grid.

    R[n] = 1/k Σ_j R_j[n + j], j = 0 … k − 1, R_j the relevance of x[n − j]: of the waveform moved
    j samples later, zeros before it.

    A first layer with a step of k samples looks at every k-th place alone, so that pulses of a
    relevance signal stand up to k / 2 samples from where they belong, and its spectrum repeats
    every rate / k. Over k shifts no place is preferred.

    Source: Coifman and Donoho (1995), cycle spinning; chosen here, no paper of relevance has it.

    Parameters
    ----------
    x
        Waveforms (B, …, samples).
    """
    total = method(x)
    for count in range(1, settings.shifts):
        moved = functional.pad(x, (count, -count))
        total = total + functional.pad(method(moved), (-count, count))
    return total / settings.shifts
