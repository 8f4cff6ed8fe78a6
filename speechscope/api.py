"""speechscope from Python: open an artifact, call a method.

A command reads files, calls these libraries and writes a file; here the middle part stands alone,
with the settings of a recipe where none are given.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope import recipes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from speechscope.corpus.store import Corpus
    from speechscope.inversion.chain import Inversion
    from speechscope.networks.saved import Model
    from speechscope.relevance.maximize import Maximized
    from speechscope.store.artifact import Artifact


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
    recipe: str = recipes.DEFAULT,
    seed: int = 0,
    **settings: Any,
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
    recipe, settings
        The recipe's settings of ``speechscope relevance``, and changes: ``rule="epsilon"``.
    seed
        Of methods that draw noise.

    Returns
    -------
    Relevance, shaped as what is explained.

    Raises
    ------
    UsageProblem
        There is no such method or setting.
    SpeechscopeError
        The method cannot treat a layer of the network faithfully.
    """
    import torch

    from speechscope.relevance.explain import explained, predicted, relevance_by
    from speechscope.settings import make
    from speechscope.stages.relevance import Relevance

    chosen = make(Relevance, "relevance", {"method": method, "seed": seed, **settings}, recipe)
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
    recipe: str = recipes.DEFAULT,
    seed: int = 0,
    **settings: Any,
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
    recipe, settings
        The recipe's settings of ``speechscope invert``, and changes: ``steps=400``.
    seed
        Of random starts; item n has seed + n.

    Raises
    ------
    UsageProblem
        There is no such layer, method or setting.
    """
    from speechscope.inversion.build import inversion_settings
    from speechscope.inversion.chain import invert

    chosen = recipes.resolve(recipe, "invert", settings)
    return invert(
        model.network,
        {"decode": dict(decoders or {})},
        inputs,
        layers,
        methods,
        inversion_settings(chosen, seed),
        seeds=[seed + item for item in range(len(inputs))],
    )


def maximize(
    model: "Model",
    layer: str | int,
    units: Sequence[str],
    *,
    recipe: str = recipes.DEFAULT,
    seed: int = 0,
    **settings: Any,
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
    recipe, settings
        The recipe's settings of ``speechscope maximize``, and changes: ``steps=50``.
    seed
        Of random starts.

    Raises
    ------
    UsageProblem
        There is no such layer, unit or setting.
    """
    from speechscope.relevance.maximize import layer_of_units, maximize, parse_units
    from speechscope.settings import make
    from speechscope.stages.maximize import Maximize

    chosen = make(Maximize, "maximize", {"seed": seed, **settings}, recipe)
    place = layer_of_units(model.network, layer, model.classes)
    found = list(parse_units(units, place.out, place.classes).values())
    seeds = [seed + unit for unit in range(len(found))]
    return maximize(place.run, place.seen, found, chosen, seeds)
