"""speechscope from Python: run a stage as its command does, or call a method on arrays in memory.

`run` takes every setting of a command by its name, reads files and writes one. `explain`, `invert`
and `maximize` take a model and arrays, and return arrays; they know the settings of their stage
that say how something is computed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope import settings, stages
from speechscope.errors import UsageProblem
from speechscope.recipes import DEFAULT
from speechscope.settings import declared
from speechscope.work.progress import SILENT, Console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from speechscope.corpus.store import Corpus
    from speechscope.inversion.chains import Inversion
    from speechscope.networks.saved import Model
    from speechscope.relevance.maximize import Maximized
    from speechscope.stages.shared import Result
    from speechscope.store.artifact import Artifact

CHOOSING = ("per_class", "count")
"""Settings that choose inputs, of which the functions of arrays are given."""


def run(stage: str, *, console: Console = SILENT, **given: Any) -> "Result":
    """Run a stage as its command does, and return what that shows.

    ``run("invert", layer=9, method="decode+bp")`` is ``speechscope invert --layer 9 --method
    decode+bp``: names are those of the options, with ``_`` for ``-``; lists are tuples.

    Parameters
    ----------
    stage
        ``prepare``, ``train``, …
    console
        Where progress and notes go; silent unless one is given.
    given
        Settings by name; the recipe has the others.

    Returns
    -------
    `speechscope.stages.shared.Written`, whose ``path`` is the artifact, or a ``Table`` of ``rows``.

    Raises
    ------
    SpeechscopeError
        As the command fails; ``exit_code`` is what it would end with.
    """
    if stage not in stages.STAGES:
        raise UsageProblem(f"stage {stage}: choose from {', '.join(stages.STAGES)}")
    return stages.run(stage, given, console)


def _chosen(stage: str, given: Mapping[str, Any], recipe: str, refused: Sequence[str] = ()) -> Any:
    """Return a stage's settings for arrays in memory; refuse those that have no meaning there."""
    kind = stages.settings_class(stage)
    for entry in declared(kind):
        computes = entry.said.kind == "setting" and entry.name not in (*CHOOSING, *refused)
        if entry.name in given and not computes and entry.name not in ("seed", "method", "layer"):
            raise UsageProblem(f"{entry.name} has no meaning for arrays in memory")
    return settings.make(kind, stage, given, recipe)


def load_artifact(path: str | Path) -> "Artifact":
    """Open any Zarr artifact; its arrays are read by name.

    Raises
    ------
    ArtifactError
        It is missing, foreign, damaged or of another format.
    """
    from speechscope.store.artifact import Artifact

    return Artifact(Path(path))


def load_corpus(path: str | Path) -> "Corpus":
    """Open a prepared corpus; raises as `load_artifact` does."""
    from speechscope.corpus.store import Corpus

    return Corpus(Path(path))


def load_model(path: str | Path) -> "Model":
    """Read a trained network, on the CPU and in evaluation mode.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged or not a model.
    """
    from speechscope.networks.saved import load_model

    return load_model(Path(path))


def load_decoders(path: str | Path, model: "Model") -> Mapping[int, Any]:
    """Read the decoders of a model, by layer number.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged, or does not fit the model.
    """
    from speechscope.networks.saved import load_decoders

    return load_decoders(Path(path), model.network)


def read_inputs(
    corpus: "Corpus", items: "Sequence[int] | NDArray[np.integer[Any]]", model: "Model"
) -> "Tensor":
    """Return the inputs of items as a model takes them, centred by its mean, (N, C, F, T).

    Raises
    ------
    UsageProblem
        The items are whole utterances.
    """
    import numpy as np
    import torch

    return torch.from_numpy(corpus.view.read(np.asarray(items))) - model.mean


def explain(
    model: "Model",
    inputs: "Tensor",
    targets: "Sequence[int] | Tensor | None" = None,
    *,
    method: str = "gradient",
    layer: str | int | None = None,
    recipe: str = DEFAULT,
    seed: int = 0,
    **given: Any,
) -> "Tensor":
    """Return what in each input the score of a class, before softmax, rests on.

    Parameters
    ----------
    model
        See `load_model`.
    inputs
        Centred inputs (N, C, F, T).
    targets
        A class an item; None: the class with the highest score.
    method
        One of ``speechscope relevance --method``.
    layer
        Explain what enters this layer instead.
    recipe, given
        The recipe's settings of ``speechscope relevance``, and changes: ``rule="epsilon"``.
    seed
        Of methods that draw noise.

    Returns
    -------
    Relevance, shaped as what is explained.

    Raises
    ------
    UsageProblem
        There is no such method or setting, or it has no meaning here.
    SpeechscopeError
        The method cannot treat a layer of the network faithfully.
    """
    import torch

    from speechscope.relevance.explain import explained, predicted, relevance_by

    chosen = _chosen(
        "relevance", {"method": method, "seed": seed, **given}, recipe, ("target", "frame", "hop")
    )
    of = explained(model.network, inputs, layer)
    entering = of.enter(inputs)
    if targets is None:
        with torch.no_grad():
            targets = predicted(of.scores(entering))
    seeds = [seed + item for item in range(len(inputs))]
    return relevance_by(method, of, entering, torch.as_tensor(targets), chosen, seeds)


def invert(
    model: "Model",
    inputs: "Tensor",
    layers: Sequence[int | str],
    methods: Sequence[str] = ("bp",),
    *,
    decoders: Mapping[int, Any] | None = None,
    recipe: str = DEFAULT,
    seed: int = 0,
    **given: Any,
) -> "Inversion":
    """Reconstruct inputs from what layers make of them.

    Parameters
    ----------
    model
        See `load_model`.
    inputs
        Centred inputs (N, C, F, T); only their activations are used.
    layers
        Numbers or names.
    methods
        Names or chains, such as ``decode+bp``.
    decoders
        Where a method decodes; see `load_decoders`.
    recipe, given
        The recipe's settings of ``speechscope invert``, and changes: ``steps=400``.
    seed
        Of random starts; item n has seed + n.

    Raises
    ------
    UsageProblem
        There is no such layer, method or setting, or it has no meaning here.
    """
    from speechscope.inversion import chains
    from speechscope.stages.invert import Invert

    of_corpus = [entry.name for entry in declared(Invert) if entry.name.startswith("align_")]
    names = {"layer": tuple(layers), "method": tuple(methods)}
    chosen = _chosen("invert", {**names, "seed": seed, **given}, recipe, of_corpus)
    return chains.invert(
        model.network,
        inputs,
        [model.network.resolve(layer) for layer in layers],
        chosen,
        [seed + item for item in range(len(inputs))],
        restorers={"decode": decoders or {}},
    )


def maximize(
    model: "Model",
    layer: str | int,
    units: Sequence[str],
    *,
    recipe: str = DEFAULT,
    seed: int = 0,
    **given: Any,
) -> "Maximized":
    """Climb to the inputs that excite units of a layer most.

    Parameters
    ----------
    model
        See `load_model`.
    layer
        Its number or name.
    units
        As for ``speechscope maximize --unit``: ``3``, ``3@10x2``, ``3@mean``, or a class.
    recipe, given
        The recipe's settings of ``speechscope maximize``, and changes: ``steps=50``.
    seed
        Of random starts.

    Raises
    ------
    UsageProblem
        There is no such layer, unit or setting, or it has no meaning here.
    """
    from speechscope.relevance.maximize import layer_of_units, maximize, parse_units

    chosen = _chosen("maximize", {"seed": seed, **given}, recipe, ("unit",))
    place = layer_of_units(model.network, layer, model.classes)
    chosen_units = list(parse_units(units, place.out, place.classes).values())
    seeds = [seed + unit for unit in range(len(chosen_units))]
    return maximize(place.run, place.seen, chosen_units, chosen, seeds)
