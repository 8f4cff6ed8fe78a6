"""Files, wrappings of weights and transformers: what is read, and what no file can have done."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from constructions import examples, made
from formulas import gradient
from torch import Tensor

from speechscope.errors import ArtifactError
from speechscope.networks.foreign import fitted
from speechscope.networks.loading import _fill, load

Weights = dict[str, Tensor]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model": w, "optimizer": {"state": {}}},
        lambda w: {f"module.{k}": v for k, v in w.items()},
        lambda w: {"state_dict": {f"net.{k}": v for k, v in w.items()} | {"loss.w": w["l.bias"]}},
    ],
)
def test_weights_in_their_usual_wrappings(
    tmp_path: Path, wrapped: Callable[[Weights], Any]
) -> None:
    network, other = made("plain"), made("plain")
    for parameter in other.parameters():
        parameter.data.zero_()
    torch.save(wrapped(network.state_dict()), tmp_path / "w.pt")
    _fill(other, tmp_path / "w.pt")
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_weights_that_fit_twice_or_not_at_all_are_refused(tmp_path: Path) -> None:
    network = made("plain")
    weights = network.state_dict()
    for held in ({"ema": weights, "raw": weights}, {"l.bias": weights["l.bias"]}, {"a": 1}, [1]):
        torch.save(held, tmp_path / "w.pt")
        with pytest.raises(ArtifactError, match="not the weights of Net"):
            _fill(network, tmp_path / "w.pt")


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(made("plain"), (examples("plain", 1)[:, 0],)), path)


def changed(path: Path, change: Callable[[str, str], str]) -> None:
    """Write an exported file anew with other texts in it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            text = change(name, part.decode()).encode() if name.endswith(".json") else part
            archive.writestr(name, text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, t: t.replace("torch.ops.aten.relu.default", "torch.os.system"), "torch.os"),
        (
            lambda n, t: (
                json.dumps({"expr_str": "__import__('os').system('true')"})
                if n.endswith("models/model.json")
                else t
            ),
            "not a sum or product",
        ),
        (lambda n, t: t.replace('"use_pickle": false', '"use_pickle": true'), "pickled objects"),
        (
            lambda n, t: t.replace(
                '"config": {}', '"config": {"a": {"path_name": "opaque_obj_0"}}'
            ),
            "not tensors",
        ),
    ],
)
def test_an_exported_file_does_nothing_but_compute(
    tmp_path: Path, change: Callable[[str, str], str], said: str
) -> None:
    path = tmp_path / "n.pt2"
    exported(path)
    assert load(str(path)).network is not None
    changed(path, change)
    with pytest.raises(ArtifactError, match=said):
        load(str(path))


def transformers() -> Any:
    try:
        import transformers as found
        from transformers import Wav2Vec2ForCTC  # noqa: F401 - it needs more than the package
    except Exception as error:
        pytest.skip(f"transformers cannot be imported ({' '.join(str(error).split())[:80]})")
    return found


def test_a_folder_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = transformers()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sizes = {"conv_dim": (8, 8), "conv_stride": (20, 16), "conv_kernel": (40, 20)}
    config = found.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_feat_extract_layers=2, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        vocab_size=4, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    network = found.Wav2Vec2ForCTC(config).eval()
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": true}')
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "a": 1, "b": 2, "|": 3}')
    loaded = load(f"hf:{tmp_path}")
    assert not loaded.random and tuple(loaded.classes) == ("<pad>", "a", "b", "|")
    x = torch.randn(3, 1, 1, 4000) * 3 + 1
    taken, count = fitted(loaded.network, x)
    flat = x.flatten(1)
    scaled = (flat - flat.mean(1, keepdim=True)) / flat.std(1, correction=0, keepdim=True)
    wanted = network(scaled).logits.transpose(1, 2)
    torch.testing.assert_close(taken(x), wanted, rtol=1e-3, atol=1e-4)
    assert count == 4 and "wav2vec2.encoder.layers.1.attention.q_proj" in taken.names
    assert taken.activation(x, "wav2vec2.encoder.layers.1").shape[0] == 3
    (tmp_path / "model.safetensors").unlink()
    assert load(f"hf:{tmp_path}").random


@pytest.mark.parametrize("kind", ["whisper", "ast"])
def test_waveforms_become_the_spectrograms_of_a_model(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = transformers()
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_mel_bins": 24,
        "intermediate_size": 32, "max_length": 40, "patch_size": 8, "num_labels": 3,
    }  # fmt: skip
    of_whisper = {
        "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
        "max_source_positions": 50, "num_mel_bins": 24, "vocab_size": 9, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3,
    }  # fmt: skip
    torch.manual_seed(0)
    if kind == "ast":
        network = found.ASTForAudioClassification(found.ASTConfig(**sizes))
        place = sys.modules[found.ASTFeatureExtractor.__module__]
        monkeypatch.setattr(place, "is_speech_available", lambda: False)  # without torchaudio
        extractor = found.ASTFeatureExtractor(num_mel_bins=24, max_length=40)
    else:
        network = found.WhisperForConditionalGeneration(found.WhisperConfig(**of_whisper))
        extractor = found.WhisperFeatureExtractor(feature_size=24, chunk_length=1)
    network.eval().save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    x = torch.randn(2, 1, 1, 5000) / 9
    features = extractor(list(x.flatten(1).numpy()), sampling_rate=16000, return_tensors="pt")
    given = next(iter(features.values()))
    start = {"decoder_input_ids": torch.full((2, 1), 3)} if kind == "whisper" else {}
    with torch.no_grad():
        wanted = network(given, **start).logits
    taken, _ = fitted(load(f"hf:{tmp_path}").network, x)
    with torch.no_grad():
        torch.testing.assert_close(taken(x), wanted[:, 0] if start else wanted, atol=1e-4, rtol=0)
    slope = gradient(taken, x, torch.tensor([0, 1]))
    assert torch.isfinite(slope).all() and slope.abs().max() > 0
