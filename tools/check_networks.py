"""Hold every answer about networks that are not ours against an independent formula.

    python tools/check_networks.py docs/networks.csv --waves W.zarr --maps M.zarr --cases DIR
    python tools/check_networks.py docs/networks.csv --page

Every network goes through every command by its command line, in a process of its own; what the
artifacts hold is compared with `tests/formulas.py` in double precision and, where they treat the
network, with Zennit and Captum. A line of the CSV is one answer: how far it is off, as a share of
the largest value, or what was refused. Lines of networks that are run again take the place of old
ones; --page writes docs/networks.md from them.

The networks are those of `networks_tried.py`, and each class of nets.py and nets2.py in --cases.
"""

import argparse
import contextlib
import copy
import csv
import importlib
import io
import os
import pkgutil
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks_tried import Case, tried
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import formulas  # noqa: E402

import speechscope  # noqa: E402
from speechscope.cli import run  # noqa: E402
from speechscope.store.artifact import Artifact  # noqa: E402
from speechscope.work.device import noise  # noqa: E402
from speechscope.work.tasks import mixed  # noqa: E402

COLUMNS = ("group", "network", "what", "against", "exit", "off", "said")
BOUNDS = {"lrp": 2e-3, "lrp alpha-beta": 2e-3, "lrp gamma": 2e-3}
BOUND = 2e-4
"""What single precision costs, as a share of the largest value; rules divide by small numbers."""
ITEMS = 3
SINGLE = ("silero", "Detach", "Half")
"""Networks that say themselves which precision they compute in."""
Line = dict[str, object]
Found = Iterator[tuple[str, Tensor]]
Formula = Callable[["Checked", Tensor, Tensor, Sequence[int]], Found]


def kind_of(network: torch.nn.Module) -> torch.dtype:
    """Return the type of numbers of a network."""
    weights = (p.dtype for p in network.parameters() if p.is_floating_point())
    return next(weights, torch.float32)


def scores_of(case: Case, network: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the scores (B, V, …) of inputs (B, C, F, T), in the precision of a network."""
    kind = kind_of(network)

    def scores(x: Tensor) -> Tensor:
        x = x.to(kind)
        parts = torch.chunk(x, len(x)) if case.alone else (x,)
        out = torch.cat([case.scores(network, case.fed(part)) for part in parts])
        out = out[:, None] if out.dim() == 1 else out
        return out.transpose(1, 2) if case.frames and out.dim() == 3 else out

    return scores


class Checked:
    """One network, and what is said of it."""

    def __init__(self, case: Case, corpus: Path, folder: Path) -> None:
        self.case, self.corpus, self.folder = case, corpus, folder
        # Weights are numbers: a product with one is no product of two that come from the input.
        self.module = case.made().eval().requires_grad_(False)
        self.network = self.module
        if case.name not in SINGLE:
            self.network = copy.deepcopy(self.module).double()
        self.scores = scores_of(case, self.network)
        self.lines: list[Line] = []

    @cached_property
    def single(self) -> "Checked":
        """The same with formulas in single precision."""
        other = copy.copy(self)
        other.network = copy.deepcopy(self.module).float()
        other.scores = scores_of(self.case, other.network)
        return other

    def command(self, name: str, *more: str) -> tuple[int, str, Path]:
        """Run a command; return its exit code, what it said last, and what it wrote."""
        path, case = self.folder / "out.zarr", self.case
        words = [name, "--model", case.model, "--corpus", str(self.corpus), *case.options]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = run([*words, *more, "-o", str(path), "-f", "-q"])
        last = said.getvalue().strip().splitlines()
        return code, last[-1] if last else "", path

    def say(
        self, what: str, code: int, said: str, off: float | None = None, against: str = ""
    ) -> None:
        """Note an answer."""
        shown = "" if off is None else f"{off:.1e}"
        self.lines.append(
            dict(zip(COLUMNS, (self.case.group, self.case.name, what, against, code, shown,
                               said if code or said.startswith("ran;") else ""), strict=True))
        )  # fmt: skip

    def relevance(self) -> None:
        """Try all methods of ``relevance``."""
        some = ("--items", f"0:{ITEMS}", "--steps", "20", "--samples", "3")
        for name, more, formula in METHODS:
            method = name.split()[0]
            code, said, path = self.command("relevance", "--method", method, *some, *more(self))
            if code not in (0, 4):
                self.say(name, code, said)
                continue
            try:
                self.held(name, code, said, Artifact(path, "relevance"), formula)
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                self.say(name, code, f"ran; the formula fails: {reason}")
        if not any(line["what"] == "score" for line in self.lines):
            self.say("score", code, said)

    def held(self, name: str, code: int, said: str, found: Artifact, formula: Formula) -> None:
        """Hold the answers of one method against formulas."""
        shape = (-1, 1, 1) if found.array("input").ndim == 2 else tuple(
            found.array("input").shape[1:]
        )  # fmt: skip
        x = torch.from_numpy(found.read("input")).double()
        x = x.reshape(len(x), *(shape if len(shape) == 3 and shape[0] != -1 else (1, 1, -1)))
        relevance = torch.from_numpy(found.read("relevance")[0]).double().view_as(x)
        target = torch.from_numpy(found.read("target")).long()
        rows = torch.ones(len(x), dtype=torch.bool)
        if "finite" in found:
            rows = torch.from_numpy(found.read("finite").astype(bool))
        x, relevance, target = x[rows], relevance[rows], target[rows]
        if not any(line["what"] == "score" for line in self.lines):
            self.score(found, x, target, rows)
        seeds = [mixed(0, int(n)) for n in found.read("item_index")[rows.numpy()]]
        given = False
        for against, wanted in formula(self, x, target, seeds):
            given, apart = True, off(relevance, wanted)
            if BOUND < apart < 0.1 and name != "lrp":
                # A unit near 0 may be on in one precision and off in the other.
                single = dict(formula(self.single, x, target, seeds)).get(against, wanted)
                apart = min(apart, off(relevance, single))
            self.say(name, code, said, apart, against)
        if not given:
            self.say(name, code, said)

    def score(self, found: Artifact, x: Tensor, target: Tensor, rows: Tensor) -> None:
        """Hold the scores and the class predicted against the network itself."""
        with torch.no_grad():
            out = self.scores(x)
        out = out.flatten(2).sum(2) if out.dim() > 2 else out
        right = bool((out.argmax(1) == target).all())
        wanted = out.gather(1, target[:, None])[:, 0]
        scores = torch.from_numpy(found.read("score")[rows.numpy()]).double()
        self.say("score", 0, "", off(scores, wanted) if right else np.inf, "the network")

    def maximize(self) -> None:
        """Try ``maximize`` of scores: what is said to be reached is."""
        code, said, path = self.command("maximize", "--unit", "0", "--steps", "4")
        if code:
            return self.say("maximize", code, said)
        found = Artifact(path, "maximum")
        x = torch.from_numpy(found.read("optimum")).double()
        out = self.scores(x)[0, 0]
        if out.dim() == 2:
            out = out[out.shape[0] // 2, out.shape[1] // 2]
        apart = off(torch.from_numpy(found.read("activation")[:1, -1]).double(), out.mean()[None])
        self.say("maximize", code, said, apart, "the network")

    def invert(self) -> None:
        """Try ``invert`` of a layer: its objective is that of what it found."""
        layer, l2 = self.case.layer or "1", 0.01
        code, said, path = self.command(
            "invert", "--layer", layer, "--method", "bp", "--steps", "4", "--items", "0:2",
            "--l2", str(l2),
        )  # fmt: skip
        if code:
            return self.say("invert", code, said)
        found = Artifact(path, "inversion")
        x, y = (
            torch.from_numpy(values).double()
            for values in (found.read("original"), found.read("reconstruction")[0, 0])
        )
        mean = torch.from_numpy(Artifact(self.corpus, "corpus").read("mean")).double()
        outs = [
            torch.cat([self.layer_of(one[None]).flatten(1) for one in values]) for values in (x, y)
        ]
        energy = (outs[0] - outs[1]).square().sum(1) / 2 + l2 / 2 * (y - mean).flatten(
            1
        ).square().sum(1)
        told = np.nanmin(found.read("objective")[0, 0], axis=1)
        if not energy.isfinite().all():  # at the edge of what a logarithm takes
            return self.say("invert", code, said)
        self.say("invert", code, said, off(torch.from_numpy(told), energy), f"layer {layer}")

    def layer_of(self, x: Tensor) -> Tensor:
        """Return what the layer gives of inputs."""
        network, layer = self.network, self.case.layer
        x = x.to(kind_of(network))
        inner = getattr(network, "wrapped", network)
        if layer in dict(inner.named_modules()):
            out = formulas.layer_output(
                inner, layer, lambda: self.case.scores(network, self.case.fed(x))
            )
            return out if len(out) == len(x) else out[None]
        with formulas.Outputs() as outputs, torch.no_grad():
            self.case.scores(network, self.case.fed(x))
        found: Tensor = next(out for name, out in outputs.found if name == layer)
        return found

    def cluster(self) -> None:
        """Try ``cluster``: the mean of a layer over the items of a class."""
        layer = self.case.layer or "1"
        code, said, path = self.command(
            "cluster", "--layer", layer, "--any", "--per-class", "3", "--clusters", "3",
            "--reduce", "none", "--algorithm", "kmeans", "--no-probes",
        )  # fmt: skip
        if code:
            return self.say("cluster", code, said)
        found = Artifact(path, "clusters")
        items, labels = found.read("item_index"), found.read("label")
        x = torch.from_numpy(self.inputs(items))
        out = torch.cat([self.layer_of(one[None]) for one in x]).numpy()
        wanted = np.stack([out[labels == label].mean(0) for label in np.unique(labels)])
        if out.ndim == 2:
            told = found.read("unit_activation")[0, :, np.unique(labels)]
        else:
            maps = found.read("activation_map")[0][:, np.unique(labels)]
            told = maps.transpose(1, 0, 2, 3)[:, : wanted.shape[1]]
        told = told.reshape(len(wanted), -1)
        apart = np.abs(told - wanted.reshape(len(wanted), -1)).max() / np.abs(wanted).max()
        self.say("cluster", code, said, float(apart), f"layer {layer}")

    def navai(self) -> None:
        """Try ``navai``: means of inputs by the class predicted, moved by the gradient."""
        some = ("--align", "none,max-sensitivity", "--least", "1", "--items", "0:12")
        code, said, path = self.command("navai", *some)
        if code:
            return self.say("navai", code, said)
        found = Artifact(path, "navai")
        x = torch.from_numpy(self.inputs(found.read("item_index")))
        mean = torch.from_numpy(Artifact(self.corpus, "corpus").read("mean"))
        target = torch.from_numpy(found.read("target")).long()
        with torch.no_grad():
            out = self.scores(x)
        out = out.flatten(2).sum(2) if out.dim() > 2 else out
        right = bool((out.argmax(1) == target).all())
        told, apart = found.read("mean")[0], 0.0
        names = found.flags("target")
        for row, name in enumerate(found.flags("class")):
            of_class = (target == names.index(name)).numpy()
            if of_class.any():
                wanted = (x - mean)[of_class].mean(0)[0].numpy()
                apart = max(apart, float(np.abs(told[row] - wanted).max() / np.abs(wanted).max()))
        slope = formulas.gradient(self.scores, x, target).amax((1, 2))
        frames = slope.shape[1]
        shift = torch.from_numpy(found.read("shift")[1]).long() + frames // 2
        reached = slope.gather(1, shift[:, None])[:, 0]
        highest = slope.amax(1)
        apart = max(apart, float(((highest - reached) / highest.abs().clamp(min=1e-30)).max()))
        self.say("navai", code, said, apart if right else np.inf, "means and slopes")

    def inputs(self, items: Any) -> Any:
        """Return items of the corpus as the network is given them, in double precision."""
        from speechscope.corpus.store import Corpus

        corpus = Corpus(self.corpus)
        return (corpus.centred(items) + corpus.mean).astype(np.float64)


def off(found: Tensor, wanted: Tensor) -> float:
    """Return how far values are from those wanted, as a share of the largest of these."""
    found, wanted = found.detach(), wanted.detach()
    if found.shape != wanted.shape:
        return float("inf")
    largest = float(wanted.abs().max())
    apart = float((found - wanted).abs().max())
    return apart / largest if largest else apart


def by_gradient(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield the gradient by autograd."""
    yield "autograd", formulas.gradient(of.scores, x, target)


def by_product(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield the gradient times the input."""
    yield "autograd", x * formulas.gradient(of.scores, x, target)


def by_integral(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield integrated gradients as Captum has them."""
    from captum.attr import IntegratedGradients

    def total(given: Tensor) -> Tensor:
        out = of.scores(given)
        return out.flatten(2).sum(2) if out.dim() > 2 else out

    with contextlib.suppress(RuntimeError):
        found = IntegratedGradients(total).attribute(
            x, 0.0, target, n_steps=20, method="gausslegendre", internal_batch_size=len(x)
        )
        yield "Captum", found


def by_noise(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield SmoothGrad over the same noise."""
    flat = x.flatten(1)
    spread = 0.15 * (flat.amax(1) - flat.amin(1)).view(-1, 1, 1, 1)
    total = torch.zeros_like(x)
    for number in range(3):
        drawn = noise(seeds, number, x.shape[1:], x.device).double()
        total += formulas.gradient(of.scores, x + spread * drawn, target) / 3
    yield "autograd", total


def patches(of: Checked) -> tuple[str, ...]:
    """Return patches for the corpus of a network."""
    size = "1x400" if of.case.corpus != "maps" else "10x4"
    return "--patch", size, "--stride", size


def by_occlusion(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield the loss by patches."""
    size = (1, 400) if of.case.corpus != "maps" else (10, 4)
    yield "own loop", formulas.occluded(of.scores, x, target, size, size)


def by_guiding(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield guided backpropagation."""
    yield "formula", formulas.guided(of.scores, x, target)
    if of.case.zennit:
        from captum.attr import GuidedBackprop

        network = copy.deepcopy(of.network)
        fed = of.case.fed(x.to(kind_of(network))).detach().requires_grad_()
        found = GuidedBackprop(network).attribute(fed, target)
        yield "Captum", found.reshape(x.shape)


def by_maps(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield Grad-CAM of all maps behind the last convolution: that which is nearest counts."""
    parts = [slice(n, n + 1) for n in range(len(x))] if of.case.alone else [slice(0, len(x))]
    found = [formulas.class_maps(of.scores, x[part], target[part]) for part in parts]
    for maps in zip(*found, strict=True):
        yield f"maps of {maps[0][0]}", torch.cat([wanted for _, wanted in maps])


def by_rules(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield LRP by gradients of a network in which factors are held."""
    yield "formula", formulas.handed_down(of.scores, x, target)
    if of.case.zennit:
        yield "Zennit", by_zennit(of, x, target, "Epsilon", 1e-9)


def by_zennit(of: Checked, x: Tensor, target: Tensor, rule: str, *sizes: float) -> Tensor:
    """Return LRP as Zennit has it, batch normalisation one with the layer before."""
    import peers
    from zennit import canonizers, rules
    from zennit.composites import LayerMapComposite
    from zennit.types import Convolution, Linear

    made = getattr(rules, rule)
    kind = made(*sizes) if rule != "AlphaBeta" else made(2, 1, stabilizer=1e-9)
    bends = (torch.nn.ReLU, torch.nn.LeakyReLU)
    layers = [(bends, rules.Pass()), (Convolution, kind), (Linear, kind)]
    pools = (torch.nn.modules.pooling._AdaptiveAvgPoolNd, torch.nn.modules.pooling._AvgPoolNd)
    layers.append((pools, rules.Norm(stabilizer=1e-9)))
    merge = [canonizers.SequentialMergeBatchNorm()]
    composite = LayerMapComposite(layers, canonizers=merge)
    network = copy.deepcopy(of.module).double().eval()
    return peers.zennit(network, of.case.fed(x), target, composite).reshape(x.shape)


def by_alpha_beta(of: Checked, x: Tensor, target: Tensor, seeds: Sequence[int]) -> Found:
    """Yield LRP by α = 2, β = 1 as Zennit has it."""
    if of.case.zennit:
        yield "Zennit", by_zennit(of, x, target, "AlphaBeta")


def nothing(of: Checked) -> tuple[str, ...]:
    """Return no settings."""
    return ()


METHODS: tuple[tuple[str, Callable[[Checked], tuple[str, ...]], Formula], ...] = (
    ("gradient", nothing, by_gradient),
    ("gradient-x-input", nothing, by_product),
    ("integrated", nothing, by_integral),
    ("smoothgrad", nothing, by_noise),
    ("occlusion", patches, by_occlusion),
    ("guided", nothing, by_guiding),
    ("lrp", lambda of: ("--epsilon", "1e-20"), by_rules),
    ("lrp alpha-beta", lambda of: ("--rule", "alpha-beta", "--epsilon", "1e-20"), by_alpha_beta),
    ("grad-cam", nothing, by_maps),
)
WHAT = ("score", *(name for name, *_ in METHODS), "maximize", "invert", "cluster", "navai")


def check(case: Case, corpora: Mapping[str, Path], folder: Path) -> list[Line]:
    """Return all that is said of one network."""
    of = Checked(case, corpora[case.corpus], folder)
    for part in (of.relevance, of.maximize, of.invert, of.cluster, of.navai):
        try:
            part()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            of.say(part.__name__, 0, f"ran; the formula fails: {reason}")
    return of.lines


def keep(path: Path, lines: Sequence[Line]) -> None:
    """Write lines into a CSV in the place of those of the same networks."""
    old: list[Line] = []
    again = {line["network"] for line in lines}
    if path.exists():
        with path.open(newline="") as file:
            old = [dict(row) for row in csv.DictReader(file) if row["network"] not in again]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted([*old, *lines], key=lambda row: str(row["group"])))


def cell(rows: Sequence[Mapping[str, str]], what: str) -> str:
    """Return what a table says of one answer."""
    if not rows:
        return ""
    given = [float(row["off"]) for row in rows if row["off"]]
    code = rows[0]["exit"]
    if not given:
        return "–" if code not in ("0", "4") else "ran"
    worst = min(given) if what == "grad-cam" else max(given)
    return f"{'**' * wrong(what, worst)}{worst:.0e}{'**' * wrong(what, worst)}"


def wrong(what: str, apart: float) -> bool:
    """Say whether an answer is further off than rounding makes it."""
    return not apart <= BOUNDS.get(what, BOUND)


def page(path: Path) -> str:
    """Return docs/networks.md."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    text = [HEAD]
    for group in dict.fromkeys(row["group"] for row in rows):
        of_group = [row for row in rows if row["group"] == group]
        text += [
            f"## {group}\n",
            f"| network | {' | '.join(WHAT)} |",
            "| --- " * (len(WHAT) + 1) + "|",
        ]
        for name in dict.fromkeys(row["network"] for row in of_group):
            mine = [row for row in of_group if row["network"] == name]
            cells = [cell([row for row in mine if row["what"] == what], what) for what in WHAT]
            text.append(f"| {name} | {' | '.join(cells)} |")
        refused = {
            re.sub(r"^speechscope \S+: ", "", row["said"]): row["network"]
            for row in of_group
            if not row["off"] and row["said"]
        }
        text += ["", "Refused, for instance:", ""]
        text += [f"- {network}: {said}" for said, network in list(refused.items())[:40]]
        text.append("")
    return "\n".join(text)


HEAD = """# Networks tried

Made by `tools/check_networks.py --page` of [networks.csv](networks.csv): every network by every
command, by its command line, on recorded speech. A number is how far the answer is from an
independent formula in double precision (`tests/formulas.py`), from Captum or from Zennit, the
furthest of those there are, as a share of the largest value: single precision costs 1e-7 to 1e-4,
and more in LRP, which divides by small sums. Of Grad-CAM it is the nearest of the maps behind the
last convolution. – is a refusal, which names the layer and what to do instead; "ran" was not
compared, an empty cell was not run. **Bold** is further off than these bounds.

Rows of both groups of constructions, of whisper, wav2vec2, crepe, resemblyzer, emformer, deepspeech
and wav2vec2_of_torchaudio are of one afternoon (2026-12-01, ε of LRP 1e-20); the others stand as
they were found in the morning (ε 1e-9; what was not compared then is empty). αβ is compared where
Zennit has all layers, and "ran" else.

What is bold today: gradients through a logarithm or root of very small numbers, which single
precision has to a thousandth (StftFront, ComplexPower; crepe's integrated gradients likewise); a
difference of nearly equal scores (occlusion of whisper-asr); Reversal, whose slope is said to be
the other way round than what it computes, by which LRP and guided backpropagation go; Grad-CAM of
Spectral, exact in either precision, where the rounding of a Fourier transform decides which ReLUs
are on; the mean of Half's layer, in half precision; and of rows of the morning Grad-CAM of hubert,
data2vec, conformer and sew, for which frames were taken for maps: mended since, as wav2vec2 shows.
"""


def main() -> None:
    """Check networks, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("--waves", type=Path, help="a corpus of windows")
    parser.add_argument("--short", type=Path, help="a corpus of windows of 1024 samples")
    parser.add_argument("--folders", type=Path, help="of transformers: networks_elsewhere.py DIR")
    parser.add_argument("--maps", type=Path, help="a corpus of spectrograms")
    parser.add_argument("--cases", type=Path, help="the folder of nets.py and nets2.py")
    parser.add_argument("--only", default="", help="networks, by regular expression")
    parser.add_argument("--page", action="store_true", help="write docs/networks.md")
    given = parser.parse_args()
    if given.page:
        (ROOT / "docs/networks.md").write_text(page(given.csv))
        return
    torch.set_num_threads(1)
    named = {"waves": given.waves, "maps": given.maps, "short": given.short}
    corpora = {name: path.resolve() for name, path in named.items() if path is not None}
    others = ("peers", "captum.attr", "sklearn.metrics", "sklearn.cluster", "zennit.attribution",
              "torch.fx.experimental.symbolic_shapes")  # fmt: skip
    ours = (m.name for m in pkgutil.walk_packages(speechscope.__path__, "speechscope."))
    for name in (*others, *(n for n in ours if ".fast" not in n and "__main__" not in n)):
        importlib.import_module(name)  # once, and not in every process
    for case in tried(given.cases, given.folders):
        if case.corpus not in corpora or not re.search(given.only, case.name):
            continue
        process = os.fork()
        if not process:
            with tempfile.TemporaryDirectory() as folder:
                keep(given.csv, check(case, corpora, Path(folder)))
            sys.stdout.flush()
            os._exit(0)
        print(case.name, "ended with", os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    main()
