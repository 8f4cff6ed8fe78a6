"""Every command × method × network × rule, run on the CPU and on the pretend device.

    python tests/device/rows.py [WORD ...]      # the table: equal?, kernels, waits

A row is a command line without its output and its device. What it reads is made on the CPU, on
demand, by the lines of `MADE`.
"""

import contextlib
import fcntl
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import corpora
import numpy as np
import torch
import zarr

from speechscope import cli
from speechscope.registry import (
    ALIGNMENTS,
    CHAPTERS,
    NETWORKS,
    RELEVANCE,
    REPRESENTATIONS,
    RULES,
    SCORES,
)
from speechscope.settings import declared
from speechscope.stages import STAGES, settings_class
from speechscope.training import group
from speechscope.work import device
from speechscope.work.accelerators import PLAIN

FEW = "--epochs 1 --per-class 3 --batch 8"
DECODE = "--epochs 1 --together 1 --per-class 2"
RIEMENS = "--recipe riemens2015 --epochs 1 --per-class 2"
LETTERS = "--width 0.03 --batch 4"
LEARN = "--align-items 40 --regress-epochs 1"
CORPORA = {
    "logmel": "frm.zarr",
    "raw-phone": "win.zarr",
    "raw-speaker": "spk.zarr",
    "wav2letter": "utt.zarr",
}
"""What networks are trained on; the others, on segments."""
MADE = {
    "seg.zarr": "prepare timit",
    "rie.zarr": "prepare timit --recipe riemens2015",
    "win.zarr": "prepare timit --recipe muckenhirn2019",
    "spk.zarr": "prepare timit --recipe muckenhirn2019 --labels speaker",
    "frm.zarr": "prepare timit --recipe pellegrini2016 --phone-set timit-48",
    "utt.zarr": "prepare timit --recipe krug2018",
    "whole.zarr": "prepare timit --unit utterance --features waveform --max-length none",
    "dev.zarr": "prepare timit --split share:test=0.3,dev=0.3",
    "model.pt": f"train seg.zarr {FEW}",
    "other.pt": f"train seg.zarr {FEW} --seed 1",
    "rie.pt": f"train rie.zarr {FEW}",
    "dev.pt": f"train dev.zarr {FEW}",
    **{
        f"of-{name}.pt": f"train {CORPORA.get(name, 'seg.zarr')} --network {name} --epochs 1 "
        + (LETTERS if name == "wav2letter" else "--sampling resample --per-class 2 --batch 8")
        for name in NETWORKS.names()
    },
    "dec.pt": f"decode-train model.pt --layer 1,9 {DECODE}",
    "auto.pt": f"decode-train rie.pt {RIEMENS}",
    "inverse.pt": f"decode-train model.pt --method regress --layer 9 {LEARN}",
    "inv.zarr": "invert dec.pt --layer 9 --method decode,bp --steps 3 --items 0:3",
    "rel.zarr": "relevance model.pt --method gradient,lrp --items 0:4",
    "rel-raw.zarr": "relevance of-raw-phone.pt --method guided --items 0:2",
    "max.zarr": "maximize model.pt --steps 3 --unit 0,1",
    "nav.zarr": "navai model.pt --align none,min-sensitivity --least 1",
    "clu.zarr": "cluster model.pt --layer pool1 --reduce none --algorithm kmeans --clusters 4 "
    "--per-class 3 --any --no-probes",
}
"""How the artifacts that rows read are made, on the CPU."""


@dataclass(frozen=True)
class Row:
    """A command line that is run on both.

    Parameters
    ----------
    line
        Without output and device.
    kind
        The ending of what is written; "": the answer is on standard output.
    within
        The largest difference allowed, as a share of the array's largest value; 0: bit for bit.
    alone
        Whether the CPU refuses the last option, and is run without it.
    only, but
        What has to be in the names of the arrays that are compared, and a pattern of those that
        are not.
    refused
        Whether it is refused, on the device as on the CPU, in the same words.
    default
        Whether it is tried in the default suite; the others are heavy.
    """

    line: str
    kind: str = ".zarr"
    within: float = 1e-5
    alone: bool = False
    only: str = ""
    but: str = r"^$"
    refused: bool = False
    default: bool = False


OF_CTC: dict[str, Any] = {"within": 5e-4, "but": r"conv\d+\.bias|error|accuracy|letter"}


def _rows() -> dict[str, Row]:
    rows: dict[str, Row] = {}

    def add(name: str, line: str, kind: str = ".zarr", **more: Any) -> None:
        rows[name] = Row(line, kind, **more)

    # AdaGrad is one fused operation on the CPU: other rounding.
    ada: dict[str, Any] = {"within": 1e-4}
    train = f"train seg.zarr {FEW}"
    add("train freq-overlap", train, ".pt", default=True, **ada)
    add("train riemens", MADE["rie.pt"], ".pt", **ada)
    add("train adam", f"{train} --optimizer adam --lr 0.001", ".pt", within=1e-4)
    add("train sgd", f"{train} --optimizer sgd", ".pt", within=1e-4)
    add("train augment", f"{train} --augment all", ".pt", default=True, **ada)
    add("train augment noise", f"{train} --augment warp,noise=0.1", ".pt", **ada)
    more = "--l2 0.001 --label-smoothing 0.1 --dropout 0"
    add("train penalties", f"{train} {more}", ".pt", **ada)
    add("train from", f"{train} --from model.pt", ".pt", **ada)
    add(
        "train frozen",
        f"{train} --from auto.pt --freeze-encoder --network freq-padded",
        ".pt",
        **ada,
    )
    letters = f"train utt.zarr --epochs 1 {LETTERS}"
    # CTC's sums have another order; a bias before a normalisation has a derivative of rounding
    # alone, which Adam makes a step of, and which of two letters is likelier hangs on as little.
    add("train letters", letters, ".pt", default=True, **OF_CTC)
    add("train letters compiled", f"{letters} --compile", ".pt", alone=True, **OF_CTC)
    add(
        "train letters bf16",
        f"{letters} --precision bf16",
        ".pt",
        alone=True,
        within=0.1,
        only="history",
    )
    line = f"train win.zarr --sampling resample {FEW}"
    add("train compiled", f"{line} --compile", ".pt", alone=True, within=1e-3)
    add("train tf32", f"{line} --precision tf32", ".pt", alone=True, within=0.1)
    add("train bf16", f"{line} --precision bf16", ".pt", alone=True, within=0.1, only="/loss")
    line = f"{letters} --schedule cosine --from of-wav2letter.pt"
    # By its second step Adam has made steps of what was rounding in the first.
    add("train letters cosine", line, ".pt", within=1e-3, only="history", but="error")

    decode = f"decode-train model.pt {DECODE}"
    add("decode-train", f"{decode} --layer 1,3,6,9,12", ".pt", default=True, **ada)
    add("decode-train at once", f"{decode} --layer 3 --stack none", ".pt", **ada)
    for encoder in ("random", "init", "frozen-random"):
        add(
            f"decode-train encoder {encoder}",
            f"{decode} --layer 3,6 --encoder {encoder} --decoder random --stack none",
            ".pt",
            **ada,
        )
    riemens = f"decode-train rie.pt {RIEMENS}"
    for name, given in {
        "": "",
        " weak": " --stack weak --units 2",
        " strong": " --stack strong --units 2",
        " blind": " --unpool blind",
        " tied": " --decoder transpose-tied --units 2",
        " transpose": " --decoder transpose-init --units 1,2 --no-relu",
        " frozen": " --decoder frozen-random",
        " penalties": " --noise 0.1 --sparse 0.01 --contractive 0.01 --units 1,2",
    }.items():
        add(f"decode-train riemens{name}", riemens + given, ".pt", **ada)

    few = "--items 0:3"
    for layer in (1, 2, 3, 4, 6, 9, 12):
        line = f"invert model.pt --layer {layer} --method bp --steps 6 {few}"
        add(f"invert bp {layer}", line, default=layer == 9)
    for optimizer in ("adam", "adagrad", "lbfgs"):
        line = f"invert model.pt --layer 6 --method bp --steps 6 --optimizer {optimizer} {few}"
        add(f"invert bp {optimizer}", line, within=1e-5)
    for layer in (1, 3, 6, 9, 12):
        line = f"invert model.pt --layer {layer} --method anneal --proposals 90 {few}"
        add(f"invert anneal {layer}", line, default=layer == 9)
    line = f"invert dec.pt --layer 1,9 --method decode,decode+bp --steps 4 {few}"
    add("invert decode", line, default=True)
    line = "invert model.pt --layer 9 --method align,align+bp --steps 4 --align-items 20"
    add("invert align", f"{line} --align-epochs 1 {few}", default=True, **ada)
    line = f"invert dec.pt --layer 9 --method decode,bp --average 2 --noise 0.1 --steps 4 {few}"
    add("invert average", line)
    add("invert chirps", "invert model.pt --input chirps --count 2 --layer 9 --method bp --steps 4")
    line = "invert model.pt --audio timit/TEST/DR2/FAB30/SX30.WAV --layer 9 --method bp --steps 3"
    add("invert audio", line)
    add("invert wav", f"invert model.pt --layer 9 --method bp --steps 3 --wav wav% {few}")
    add("invert workers", f"invert model.pt --layer 9 --method bp --steps 3 --workers 2 {few}")
    line = "invert --model others:tiny --corpus seg.zarr --layer 3 --method bp,anneal"
    add("invert foreign", f"{line} --steps 4 --proposals 40 {few}")
    line = f"invert inverse.pt --layer 9 --method regress --regress-steps 3 --samples 2 {few}"
    # Its nearest examples are another where two are nearly as near.
    add("invert regress", line, within=1e-3)
    line = f"invert model.pt --layer 9 --method regress --regress-steps 2 {LEARN} {few}"
    add("invert regress untrained", line, within=1e-3)
    line = f"invert model.pt --layer 9 --method bp --on waveform --steps 3 {few}"
    add("invert waveforms", line, within=1e-4)
    line = f"invert model.pt --layer 9 --method bp,bp@intensity --steps 3 --align-items 40 {few}"
    add("invert moved", line)
    controls = "average,shaped-noise,random,same-class,nearest,random-signs,round-trip"
    line = f"invert model.pt --layer 9 --method {controls} --align-items 40 {few}"
    add("invert controls", line, default=True)

    methods = ",".join(RELEVANCE.names())
    line = f"relevance model.pt --method {methods} --samples 3 --steps 3 {few}"
    add("relevance", line, default=True)
    add("relevance layer", f"relevance model.pt --layer conv2 --method gradient,guided,lrp {few}")
    line = "relevance of-raw-phone.pt --method guided,lrp,smoothgrad --samples 2 --items 0:2"
    add("relevance waveforms", line, default=True)
    add("relevance shifts", "relevance of-raw-phone.pt --method guided,lrp --shifts 3 --items 0:2")
    line = "relevance of-wav2letter.pt --method gradient,lrp,guided --items 0:2"
    add("relevance letters", line, within=1e-2)  # LRP divides by sums of either sign
    line = f"relevance of-logmel.pt --method gradient,lrp,grad-cam {few}"
    add("relevance logmel", line)
    line = "relevance --model others:Along --corpus whole.zarr --scores :bvt --items 0:2"
    add("relevance phones", f"{line} --method occlusion --patch phone")
    add("relevance whole", f"{line} --method gradient,smoothgrad --samples 2")
    add("relevance target", f"relevance model.pt --target aa --method gradient {few}")
    line = "relevance --model others:tiny --corpus seg.zarr --steps 3"
    methods = "gradient,guided,lrp,integrated,occlusion"
    add("relevance foreign", f"{line} --method {methods} {few}", default=True)
    line = "relevance --model others:Residual --corpus seg.zarr --method gradient,lrp"
    add("relevance residual", f"{line} {few}")
    add("relevance workers", f"relevance model.pt --method gradient --workers 2 {few}")

    add("maximize", "maximize model.pt --steps 5 --unit 0,3", default=True)
    add("maximize layer", "maximize model.pt --layer conv2 --unit 0,3,7 --steps 5 --tv 0.01")
    add("maximize letters", "maximize of-wav2letter.pt --unit a,e --steps 4")
    add("maximize foreign", "maximize --model others:tiny --corpus seg.zarr --unit 0,1 --steps 4")

    aligned = "--align none,min-sensitivity,max-sensitivity,max-lrp --least 1"
    add("navai", f"navai model.pt {aligned}", within=1e-5, default=True)
    add("navai relevance", "navai rel.zarr --align none,max-lrp --least 1", within=1e-5)
    line = "navai model.pt --align none,max-lrp --by speaker --least 1"
    add("navai speakers", line, within=1e-5)
    line = "navai model.pt --mode profile --layer conv1,conv2 --least 1"
    add("navai profile", line, within=1e-5)
    line = "navai model.pt --mode profile --layer conv2 --adjust --least 1"
    add("navai adjusted", line, within=1e-5)
    add("navai letters", f"navai of-wav2letter.pt {aligned}", within=1e-5, default=True)
    line = (
        "navai of-wav2letter.pt --align none,min-sensitivity --by phone --phones seg.zarr --least 1"
    )
    add("navai phones", line, within=1e-5)
    add("navai wav", "navai model.pt --align none --least 1 --wav nav-wav%", within=1e-5)
    line = "navai model.pt --align none,max-lrp --workers 2 --least 1"
    add("navai workers", line, within=1e-5)

    few = "--clusters 4 --per-class 4 --any"
    # t-SNE makes much of rounding; nothing is said of what it gives.
    near: dict[str, Any] = {"within": 1e-4, "but": "class_projection"}
    line = f"cluster model.pt --layer input,pool1,relu5 --reduce none,pca {few}"
    add("cluster", f"{line} --algorithm kmeans,spectral,kmeans-euclidean", **near)
    line = f"cluster model.pt --layer pool2 --reduce none,pca {few} --no-probes"
    add("cluster pca", line, default=True, **near)
    line = f"cluster model.pt --layer pool2 --reduce tsne {few} --no-probes"
    add("cluster tsne", line, only="activation_map", **near)
    line = "cluster model.pt --layer pool2 --reduce pca --clusters auto --most 5 --per-class 4"
    add("cluster auto", f"{line} --any --probes", **near)
    add(
        "cluster against",
        f"cluster model.pt --layer pool2 --reduce none,pca {few} --against other.pt",
        **near,
    )
    add("cluster frames", f"cluster of-logmel.pt --reduce none,pca {few}", **near)
    add(
        "cluster foreign",
        f"cluster --model others:tiny --corpus seg.zarr --reduce none,pca {few}",
        **near,
    )

    # SciPy's transforms on the CPU, PyTorch's on the device.
    near = {"within": 1e-5}
    for name in ("seg", "rie", "win", "spk", "frm", "utt"):
        add(f"prepare {name}", MADE[f"{name}.zarr"], default=name in ("seg", "utt"), **near)
    for name in REPRESENTATIONS.names():
        line = f"prepare timit --features {name} --deltas 2 --bins 40"
        # A cube root and a logarithm have steep beginnings.
        within = {"gammatone": 5e-3, "log-magnitude": 1e-4, "log-mel": 1e-4}.get(name, 1e-5)
        add(f"prepare {name}", line, default=name in ("gammatone", "mfcc"), within=within)
    line = "prepare timit --bins 80 --window 267"
    add("prepare folded", line, **near)
    line = "prepare timit --recipe krug2018 --features gammatone --max-length none"
    add("prepare utterances", line, within=5e-3)

    kept = {
        "dec.pt": "decoder",
        "auto.pt": "decoder",
        "inverse.pt": "inverse",
        "seg.zarr": "corpus",
        "model.pt": "model",
    }
    kept |= {"inv.zarr": "inversion", "rel.zarr": "relevance", "rel-raw.zarr": "relevance"}
    kept |= {"nav.zarr": "navai", "clu.zarr": "clusters", "max.zarr": "maximum"}
    for name, kind in kept.items():
        if kind in SCORES:
            small = name in ("model.pt", "rel.zarr")
            add(f"score {name}", f"score {name}", "", within=1e-4, default=small)
        if kind in CHAPTERS:
            add(f"report {name}", f"report {name}", ".html", default=name == "model.pt")
    add("score layers", "score model.pt --layers input,pool1,fc2", "", within=1e-3)
    add("score seeds", "score rel.zarr --seeds other.pt", "")
    add("score listener", "score inv.zarr --listener other.pt", "")
    add("score by", "score model.pt --by phone,speaker", "")
    add("listen", "listen model.pt --input timit/TEST/DR2/FAB30/SX30.WAV", "-heard")
    add("doctor", "doctor", "")
    for name in NETWORKS.names():
        for row, made in _of_network(name).items():
            add(f"{row} {name}" if row == "train" else f"{row} of {name}", **made)
    for command, base in BASES.items():
        _add_choices(rows, command, base)
    return rows


def _of_network(name: str) -> dict[str, dict[str, Any]]:
    """Return a row of every command that looks into a network, of this one."""
    model, few = f"of-{name}.pt", "--items 0:2"
    refused, aligned = WITHOUT.get(name, ()), ",".join(ALIGNMENTS.names())
    methods = ",".join(method for method in RELEVANCE.names() if method not in refused)
    near = {"within": 1e-2 if name == "wav2letter" else 1e-4}
    few_of = "0:4" if name == "wav2letter" else "0:20"
    # Networks that have learned little name silence, which counts for nothing by default.
    counted = {"raw-speaker": "", "wav2letter": "--exclude blank"}.get(name, "--exclude aa")
    clusters = "--reduce none --clusters 2 --per-class 4 --any --no-probes"
    lines: dict[str, dict[str, Any]] = {
        "train": {
            "line": MADE[model], "kind": ".pt", **(OF_CTC if name == "wav2letter" else near)
        },
        "decode-train": {"line": f"decode-train {model} --layer 3 {DECODE}", "kind": ".pt", **near},
        "invert": {
            "line": f"invert {model} --layer 3 --method bp,anneal --steps 3 --proposals 30 {few}"
        },
        "relevance": {
            "line": f"relevance {model} --method {methods} --samples 2 --steps 2 {few}", **near
        },
        **{
            f"relevance by {rule}": {
                "line": f"relevance {model} --method lrp --rule {rule} --items 0:1", **near
            }
            for rule in RULES.names()
        },
        **{
            f"relevance by {method}": {
                "line": f"relevance {model} --method {method} {few}", "refused": True
            }
            for method in refused
        },
        "maximize": {"line": f"maximize {model} --unit 0,1 --steps 3", **near},
        "navai": {
            "line": f"navai {model} --align {aligned} --least 1 --items {few_of} {counted}", **near
        },
        "cluster": {
            "line": f"cluster {model} --layer 3 {clusters}", "but": "class_projection", **near
        },
        "score": {"line": f"score {model}", "kind": ""},
        "report": {"line": f"report {model}", "kind": ".html"},
        "listen": {
            "line": f"listen {model} --input timit/TEST/DR2/FAB30/SX30.WAV", "kind": "-heard"
        },
    }  # fmt: skip
    for command in REFUSED.get(name, ()):
        lines[command]["refused"] = True
    return lines


LOOKING = (
    *("decode-train", "invert", "relevance", "maximize", "navai", "cluster", "score", "report"),
    "listen",
)
"""Commands that look into a network."""
REFUSED = {
    "raw-phone": ("decode-train",),
    "raw-speaker": ("decode-train",),
    "wav2letter": ("decode-train", "invert"),
}
"""Commands that do not take a network, by its name: a step of ten samples has no decoder, letters
are of whole utterances."""
WITHOUT = {"time": ("grad-cam",), "wav2letter": ("grad-cam",)}
"""Methods that do not take a network, by its name: its maps are over time alone."""
BASES = {
    "prepare": "prepare timit",
    "train": f"train seg.zarr {FEW}",
    "decode-train": f"decode-train model.pt --layer 3 --stack none {DECODE}",
    "invert": f"invert dec.pt --layer 9 --steps 3 --proposals 20 {LEARN} --items 0:2",
    "relevance": "relevance model.pt --items 0:2",
    "maximize": "maximize model.pt --unit 0,1 --steps 3",
    "navai": "navai model.pt --align none --least 1",
    "cluster": "cluster model.pt --layer pool2 --clusters 4 --per-class 4 --any --no-probes",
    "score": "score model.pt",
    "report": "report model.pt",
    "listen": "listen model.pt --input timit/TEST/DR2/FAB30/SX30.WAV",
    "doctor": "doctor",
}
"""Lines of every command with a device, to which an option is added."""
ELSEWHERE = {
    *(("prepare", name) for name in ("layout", "phone_set", "labels", "unit", "annotated")),
    *((command, "device") for command in BASES), *((command, "recipe") for command in BASES),
    ("train", "network"),
}  # fmt: skip
"""What has choices and is not of a device (recordings are cut and labelled on the CPU), or is in
rows of its own."""
PROFILE = (
    "navai --model others:Along --corpus whole.zarr --scores :bvt --mode profile --by phone "
    "--layer first --least 1"
)
OTHERWISE = {
    ("prepare", "features", "waveform"): "prepare timit --unit window",
    ("prepare", "normalize", "item"): "prepare timit --unit window --features waveform",
    ("decode-train", "method", "regress"): f"decode-train model.pt --layer 9 {LEARN}",
    **{("navai", "frame", frame): PROFILE for frame in ("third", "middle")},
    ("train", "schedule", "cosine"): f"train utt.zarr --epochs 1 {LETTERS}",
    ("navai", "by", "phone"): "navai of-wav2letter.pt --align none --phones seg.zarr --least 1",
    ("navai", "split", "dev"): "navai dev.pt --align none --least 1",
    ("cluster", "split", "dev"): "cluster dev.pt --layer pool2 --clusters 4 --per-class 4 --any",
    ("navai", "mode", "profile"): "navai model.pt --least 1",
    ("invert", "method", "regress"): f"invert inverse.pt --layer 9 --items 0:2 {LEARN}",
}
"""Lines to which a choice is added, where that is another than the command's."""


def choices() -> Iterator[tuple[str, str, str, str]]:
    """Yield every command with a device, setting, flag and choice that there is."""
    for command in STAGES:
        entries = declared(settings_class(command))
        if not any(entry.name == "device" for entry in entries):
            continue
        for entry in entries:
            given = entry.said.choices
            for choice in (given() if callable(given) else given) or ():
                if (command, entry.name) not in ELSEWHERE:
                    yield command, entry.name, entry.flags[0], choice


def shown(rows: Mapping[str, Row], command: str, name: str, flag: str, choice: str) -> bool:
    """Say whether a choice is made by a row of the command, or by default by all."""
    default = next(e.default for e in declared(settings_class(command)) if e.name == name)
    if choice in (default if isinstance(default, tuple) else (default,)):
        return True
    pattern = rf"^{command} .*{flag} (\S*[,+])?{re.escape(choice)}([,+=@]|\s|$)"
    return any(re.search(pattern, row.line) for row in rows.values())


def _add_choices(rows: dict[str, Row], command: str, base: str) -> None:
    for of, name, flag, choice in choices():
        if of == command and not shown(rows, of, name, flag, choice):
            line = OTHERWISE.get((of, name, choice), base)
            kind = {"train": ".pt", "decode-train": ".pt", "score": "", "report": ".html"}
            kind |= {"listen": "-heard", "doctor": ""}
            row = Row(
                f"{line} {flag} {choice}", kind.get(of, ".zarr"), 1e-4, but="class_projection"
            )
            rows[f"{command} {flag} {choice}"] = row


ROWS = _rows()


@contextlib.contextmanager
def pretend(name: str) -> Iterator[None]:
    """Have ``--device cuda`` mean a kind of device, and nothing else than plain PyTorch run."""
    here = Path(__file__).parent
    path = [str(here.parent), os.environ.get("PYTHONPATH", "")]
    if name != "cuda":
        path.insert(0, str(here / "workers"))
    with mock.patch.multiple(device, KIND=name), mock.patch.multiple(group, BACKEND="aot_eager"):
        # Inductor makes no code for the pretend device: the same graphs are run as they are.
        with mock.patch.dict(os.environ, {PLAIN: "1", "PYTHONPATH": os.pathsep.join(path)}):
            yield


def called(line: str) -> str:
    """Run a command line; return what it printed.

    Raises
    ------
    RuntimeError
        It failed; with what it said.
    """
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = cli.run(["--debug", *line.split()])
    if code not in (0, 4):
        raise RuntimeError(f"speechscope {line}: exit {code}\n{said.getvalue()}")
    return out.getvalue()


def _refusal(line: str) -> str:
    """Return what a command line is refused with."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.run(line.split())
    return f"exit {code}: {said.getvalue()}" if code in (1, 2, 3) else "not refused"


def make(name: str) -> None:
    """Make what is read, in the working directory, if no other process did; and what that reads."""
    Path("locks").mkdir(exist_ok=True)
    if name == "timit":
        with _alone(name) as needed:
            if needed:
                corpora.spoken(Path("timit.new"), speakers=3, sentences=2)
                Path("timit.new").rename("timit")
        return
    for word in MADE[name].split():
        if word in MADE or word == "timit":
            make(word)
    with _alone(name) as needed:
        if needed:
            called(f"{MADE[name]} --device cpu -o {name} -q")


@contextlib.contextmanager
def _alone(name: str) -> Iterator[bool]:
    with Path("locks", name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not Path(name).exists()


def run(row: Row, name: str, other: str = "cuda") -> list[str]:
    """Run a row on the CPU and another device, in the working directory; return what differs."""
    words = row.line.split()
    for word in words:
        if word in MADE or word.split("/")[0] == "timit":
            make(word.split("/")[0])
    found = []
    kernels = 0
    for place in ("cpu", other):
        before, drawn = _kernels(), _kernels(DRAWING)
        line = row.line.replace("%", f"-{name}-{place}") + f" --device {place}"
        if row.alone and place == "cpu":
            line = re.sub(r" --(compile|precision \S+)", "", line)
        if row.kind:
            line += f" -o {name}-{place}{row.kind} -f -q"
        if row.refused:
            found.append(_refusal(line))
            continue
        found.append(called(line))
        kernels = _kernels() - before
        if _kernels(DRAWING) != drawn:
            return ["numbers were drawn on the device: not those that the CPU draws"]
    if row.refused:
        same = found[0] == found[1].replace(f"-{other}", "-cpu")
        return [] if same else [f"refused otherwise: {found}"]
    elsewhere = name.startswith(IDLE) or name.endswith("workers") or device.KIND == "cuda"
    if not kernels and not elsewhere:
        return ["nothing ran on the device"]
    if row.kind in (".zarr", ".pt", "-heard"):
        of = "-heard/relevance.zarr" if row.kind == "-heard" else row.kind
        made = [Path(f"{name}-{place}{of}") for place in ("cpu", other)]
        return differences(made[0], made[1], row)
    # What doctor finds is the device's own.
    alike = row.kind or row.line == "doctor" or _alike(found[0], found[1], row.within)
    return [] if alike else ["\n≠\n".join(found)]


def _alike(first: str, second: str, within: float) -> bool:
    """Say whether texts are the same but for their numbers, and these nearly."""
    number = re.compile(r"[-−]?\d+\.\d+")
    numbers = [[float(n.replace("−", "-")) for n in number.findall(t)] for t in (first, second)]
    words = [re.sub(r"\s+|-{2,}", " ", number.sub("#", text)) for text in (first, second)]
    if words[0] != words[1]:
        return False
    return np.allclose(numbers[0], numbers[1], rtol=max(within, 1e-5), atol=1e-3)


RARE = 2e-3
"""Of trained weights, how many may be further apart: AdaGrad's first steps are signs of
derivatives, and those near 0 are rounding."""
UNSTABLE = ("seconds", "speechscope", "device", "created", "parents")


IDLE = (
    *("prepare---features-waveform", "prepare---normalize-item"),
    *("prepare-win", "prepare-spk", "score-dec", "score-auto", "score-inv", "score-nav"),
    *("score-clu", "report-dec", "report-inv", "report-rel", "report-clu", "report-nav"),
    *("report-max", "report-auto", "report-seg", "score-seg"),
)
"""Rows that read and draw what was computed before."""


DRAWING = r"normal_|uniform|bernoulli|random|rand|dropout|multinomial|exponential|geometric"


def _kernels(what: str = r"^(?!copy_)") -> int:
    """Return how many kernels but copies the pretend device has run; on another one 0."""
    fakegpu: Any = sys.modules.get("device.fakegpu")
    if fakegpu is None:
        return 0
    counts = fakegpu.counts()["kernels"]
    return sum(count for name, count in counts.items() if re.search(what, name))


def differences(first: Path, second: Path, row: Row) -> list[str]:
    """Return which arrays or tensors of two artifacts differ, and by how much."""
    a, b = arrays(first), arrays(second)
    found = [f"{name}: only in one" for name in a.keys() ^ b.keys()]
    within = row.within
    names = [
        name for name in a.keys() & b.keys() if row.only in name and not re.search(row.but, name)
    ]
    for name in sorted(names):
        x, y = np.asarray(a[name]), np.asarray(b[name])
        if x.shape != y.shape:
            found.append(f"{name}: {x.shape} and {y.shape}")
        elif x.dtype.kind not in "fc" or not within:
            if not np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"):
                found.append(f"{name}: differs {_apart(x, y)}")
        else:
            near = np.isclose(x, y, rtol=0, atol=within * _size(x), equal_nan=True)
            if (~near).sum() > (max(1, RARE * x.size) if first.suffix == ".pt" else 0):
                found.append(f"{name}: differs {_apart(x, y)} in {(~near).sum()} of {x.size}")
    return found


def _size(x: np.ndarray) -> float:
    return float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0))


def _apart(x: np.ndarray, y: np.ndarray) -> str:
    if x.dtype.kind not in "fciu":
        return ""
    return f"by {_size(x.astype(np.float64) - y):.3g} of {_size(x):.3g}"


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an artifact, or tensors and numbers of a checkpoint, by name."""
    if path.suffix == ".zarr":
        group: Any = zarr.open_group(str(path), mode="r")
        return {name: np.asarray(group[name][...]) for name in group.array_keys()}
    return dict(_leaves(torch.load(path, weights_only=True)))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, torch.Tensor):
        assert value.device.type == "cpu", f"{name} lies on {value.device}"
        yield name, value.numpy()
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in UNSTABLE:
                yield from _leaves(part, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{name}/{number}")
    elif isinstance(value, int | float):
        yield name, np.array(float(value))


def main() -> None:
    """Print the table of the rows whose names have one of the words given."""
    from device import fakegpu

    os.chdir(os.environ.get("ROWS", "."))
    sys.path.insert(0, str(Path(__file__).parent))
    with pretend(fakegpu.NAME):
        for name, row in ROWS.items():
            if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
                continue
            fakegpu.reset_counts()
            try:
                found = run(row, name.replace(" ", "-"))
            except Exception as error:
                lines = str(error).strip().splitlines() or [repr(error)]
                places = [line.strip() for line in lines if "/speechscope/" in line]
                found = [lines[0], *places[-2:], lines[-1]]
            counts = fakegpu.counts()
            kernels, waits = (sum(counts[kind].values()) for kind in ("kernels", "syncs"))
            result = "equal" if not found else "; ".join(found[:6])
            print(f"{name:36} {kernels:7} kernels {waits:6} waits  {result}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
