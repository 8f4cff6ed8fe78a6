"""Networks of transformers, by name or folder: ``hf:NAME_OR_FOLDER``."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.networks.loading import Loaded
from speechscope.work.device import seeded


class HuggingFace(nn.Module):
    """A model of transformers as a function of inputs, brought to the scale it was trained with.

    Parameters
    ----------
    network
        The model.
    scaling
        ``item``: mean 0 and variance 1 of each item, as the feature extractor of wav2vec 2.0 does;
        (mean, deviation): of spectrograms, as that of AST does; None: inputs as they are.
    """

    def __init__(self, network: nn.Module, scaling: str | tuple[float, float] | None) -> None:
        super().__init__()
        self.wrapped = network
        self._scaling = scaling
        self._begin: int | None = None
        config: Any = network.config
        if getattr(config, "is_encoder_decoder", False) and network.get_output_embeddings():  # type: ignore[operator]
            self._begin = int(config.decoder_start_token_id)

    def forward(self, x: Tensor) -> Any:
        """Return what the model gives; of a decoder, for the first symbol."""
        if self._scaling == "item":
            mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
            x = (x - mean) / torch.sqrt(variance + 1e-7)
        elif isinstance(self._scaling, tuple):
            x = (x - self._scaling[0]) / (2 * self._scaling[1])
        if self._begin is None:
            return self.wrapped(x)
        first = torch.full((len(x), 1), self._begin, device=x.device)
        return self.wrapped(x, decoder_input_ids=first).logits[:, 0]


def from_transformers(name: str) -> Loaded:
    """Return a model by its name or folder; without weights in the folder, with random ones.

    Code that comes with a model is not run.

    Raises
    ------
    UsageProblem
        transformers is not installed, or has no such model.
    """
    try:
        import transformers
    except ImportError as error:
        raise UsageProblem(
            f"--model hf:{name}: needs transformers (pip install speechscope[hf])"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = Path(name)
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        architecture = (config.architectures or [None])[0]
        kind = getattr(transformers, architecture) if architecture else transformers.AutoModel
        weights = not folder.is_dir() or any(
            path.suffix in (".safetensors", ".bin") for path in folder.iterdir()
        )
        config._attn_implementation = "eager"
        if weights:
            network = kind.from_pretrained(name, config=config, dtype=torch.float32)
        else:
            with seeded(0):
                network = kind(config) if architecture else kind.from_config(config)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        where = "" if folder.is_dir() else "no such folder, and transformers says: "
        raise UsageProblem(f"--model hf:{name}: {where}{type(error).__name__}: {reason}") from error
    classes = _vocabulary(folder, network) or _labels(config)
    return Loaded(HuggingFace(network, _scaling(folder)), not weights, classes)


def _scaling(folder: Path) -> str | tuple[float, float] | None:
    """Return how the feature extractor in a folder scales inputs."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return None
    said = json.loads(path.read_text(encoding="utf-8"))
    if not said.get("do_normalize", False):
        return None
    if "mean" in said and "std" in said:
        return float(said["mean"]), float(said["std"])
    return "item"


def _vocabulary(folder: Path, network: nn.Module) -> tuple[str, ...]:
    """Return the symbols of a folder's vocabulary, of a network with scores along time."""
    path = folder / "vocab.json"
    if not path.is_file() or "CTC" not in type(network).__name__:
        return ()
    held = json.loads(path.read_text(encoding="utf-8"))
    return tuple(sorted(held, key=held.__getitem__))


def _labels(config: Any) -> tuple[str, ...]:
    names = getattr(config, "id2label", None) or {}
    return tuple(str(names[number]) for number in sorted(names))
