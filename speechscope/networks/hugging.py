"""Networks of transformers, by name or folder: ``hf:NAME_OR_FOLDER``."""

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import UsageProblem
from speechscope.networks.loading import Loaded
from speechscope.work.device import seeded


class HuggingFace(nn.Module):
    """A model of transformers as a function of inputs as its feature extractor makes them.

    A model of spectrograms takes those, or waveforms (B, 1, N), which become its spectrograms on
    the way, short ones with zeros behind them as the extractor does. Of a model with a decoder the
    scores are those of the first symbol; one that has no scores is its encoder alone.

    Parameters
    ----------
    network
        The model.
    said
        What the folder says of its feature extractor.
    """

    def __init__(self, network: nn.Module, said: Mapping[str, Any]) -> None:
        super().__init__()
        self._begin: int | None = None
        config: Any = network.config
        decodes = "decoder_input_ids" in signature(network.forward).parameters
        if getattr(config, "is_encoder_decoder", False) and decodes:
            if network.get_output_embeddings() is None:  # type: ignore[operator]
                network = network.get_encoder()  # type: ignore[operator]
            else:
                self._begin = int(config.decoder_start_token_id)
        self.wrapped = network
        kind = str(said.get("feature_extractor_type", ""))
        self._front = {"WhisperFeatureExtractor": _whisper, "ASTFeatureExtractor": _ast}.get(kind)
        self._said, self._scaled = said, bool(said.get("do_normalize", False))

    def forward(self, x: Tensor) -> Any:
        """Return what the model gives."""
        said = self._said
        if self._front is not None and x.dim() == 3 and x.shape[1] == 1:
            x = self._front(x[:, 0], said)
        elif self._front is _ast and x.shape[1:] != (said["max_length"], said["num_mel_bins"]):
            raise ValueError(f"takes {said['max_length']} frames of {said['num_mel_bins']} bins")
        if self._scaled and "mean" in said:
            x = (x - said["mean"]) / (2 * said["std"])
        elif self._scaled:
            mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
            x = (x - mean) / torch.sqrt(variance + 1e-7)
        if self._begin is None:
            return self.wrapped(x)
        first = torch.full((len(x), 1), self._begin, device=x.device)
        return self.wrapped(x, decoder_input_ids=first).logits[:, 0]


def _whisper(x: Tensor, said: Mapping[str, Any]) -> Tensor:
    """Return the log mel spectrograms (B, bins, T) of waveforms (B, N) that Whisper takes."""
    from transformers.audio_utils import mel_filter_bank

    size, rate = int(said["n_fft"]), int(said["sampling_rate"])
    x = functional.pad(x, (0, int(said["n_samples"]) - x.shape[-1]))
    bins = 1 + size // 2, int(said["feature_size"])
    filters = torch.from_numpy(mel_filter_bank(*bins, 0.0, 8000.0, rate, "slaney", "slaney"))
    window = torch.hann_window(size).to(x)
    spectrum = torch.stft(x, size, int(said["hop_length"]), window=window, return_complex=True)
    power = spectrum[..., :-1].abs().square()
    found = (filters.T.to(x) @ power).clamp(min=1e-10).log10()
    return (torch.maximum(found, found.amax((1, 2), keepdim=True) - 8) + 4) / 4


def _ast(x: Tensor, said: Mapping[str, Any]) -> Tensor:
    """Return the logarithms of filter banks (B, T, bins) of waveforms (B, N) that AST takes."""
    from transformers.audio_utils import mel_filter_bank

    bins, rate = int(said["num_mel_bins"]), int(said["sampling_rate"])
    filters = mel_filter_bank(
        257, bins, 20, rate // 2, rate, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    frames = x.unfold(-1, 400, 160)
    frames = frames - frames.mean(-1, keepdim=True)
    frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], -1)
    window = torch.hann_window(400, periodic=False).to(x)
    power = torch.fft.rfft(frames * window, 512).abs().square()
    found = (power @ torch.from_numpy(filters).to(x)).clamp(min=2**-23).log()
    return functional.pad(found, (0, 0, 0, int(said["max_length"]) - found.shape[1]))


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
    return Loaded(HuggingFace(network, _extractor(folder)), not weights, classes)


def _extractor(folder: Path) -> Mapping[str, Any]:
    """Return what a folder says of its feature extractor."""
    path = folder / "preprocessor_config.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return said if isinstance(said, dict) else {}


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
