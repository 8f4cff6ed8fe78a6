"""Small artifacts of every kind for the tests of reports, and a reader of the pages."""

import base64
import json
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import corpora
import numpy as np

from speechscope.cli import run
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import entry
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact, flag_attributes

HOSTILE = "<script>alert(1)</script>"
CLASSES = ("iy", "aa", HOSTILE, "s&t", '"q"')
STAGES = (
    ["prepare", "timit", "-q"],
    ["train", "--epochs", "2", "--per-class", "10", "-q"],
    ["decode-train", "--layer", "1,9", "--epochs", "1", "--together", "1", "--per-class", "5",
     "-q"],
    ["invert", "--layer", "1,9", "--method", "bp,decode", "--steps", "4", "-q"],
    ["relevance", "--method", "gradient-x-input,guided", "-q"],
    ["maximize", "--layer", "conv1", "--unit", "0,1", "--steps", "3", "-q"],
    ["prepare", "timit", "--recipe", "muckenhirn2019", "-o", "windows.zarr", "-q"],
    ["train", "windows.zarr", "--recipe", "muckenhirn2019", "--epochs", "1", "-o", "windows.pt",
     "--per-class", "4", "-q"],
    ["relevance", "windows.pt", "--recipe", "muckenhirn2019", "-o", "signals.zarr", "-q"],
    ["prepare", "timit", "--recipe", "krug2018", "-o", "letters.zarr", "-q"],
    ["train", "letters.zarr", "--recipe", "krug2018", "--width", "0.02", "--batch", "4",
     "--epochs", "1", "-o", "letters.pt", "-q"],
    ["prepare", "timit", "--recipe", "pellegrini2016", "--phone-set", "timit-48", "-o",
     "frames.zarr", "-q"],
)  # fmt: skip


def everything(folder: Path) -> Path:
    """Make an artifact of every kind in a folder."""
    root = corpora.timit(folder / "timit", speakers=3, sentences=3)
    for path in root.rglob("*.PHN"):
        path.with_suffix(".TXT").write_text("0 12800 see the moon\n")
    for stage in STAGES:
        assert run(["-C", str(folder), *stage]) in (0, 4), stage
    navai(folder / "navai.zarr")
    clusters(folder / "clusters.zarr", folder / "corpus.zarr")
    windows_of_letters(folder / "spoken.zarr", folder / "letters.zarr")
    return folder


def _record(kind: str, parents: list[Any]) -> Any:
    return new_record(kind, config={}, seed=0, device="cpu", parents=parents)


def navai(path: Path, silent: int = 0) -> None:
    """Write the arrays of the contract for five classes, two alignments.

    So many first frames of all means, and one more of those of the first class, are faint.
    """
    rng = np.random.default_rng(0)
    sizes = {"alignment": 2, "class": 5, "frequency": 6, "time": 8}
    with create_artifact(path, "test", _record("navai", []), force=True) as writer:
        for name in ("mean", "pattern"):
            values = rng.normal(size=tuple(sizes.values())).astype(np.float32)
            values[..., :silent] *= 0.001
            values[:, 0, :, : silent + 1 if silent else 0] *= 0.001
            writer.put(name, values, tuple(sizes))
        normalizer = rng.normal(size=(2, 6, 8)).astype(np.float32)
        writer.put("normalizer", normalizer, ("alignment", "frequency", "time"))
        writer.put("count", np.array([3, 1, 4, 0, 5]), ("class",))
        writer.put("shift", rng.integers(-3, 3, (2, 13)).astype(np.int16), ("alignment", "item"))
        writer.name_axis("alignment", ["none", "max-lrp"])
        writer.name_axis("class", CLASSES)
        writer.put("frequency", np.linspace(0, 8000, 6), ("frequency",), {"units": "Hz"})
        writer.put("time", np.arange(8) * 0.01, ("time",), {"units": "s"})


def clusters(path: Path, corpus: Path | None, *, optional: bool = True) -> None:
    """Write the arrays of the contract for two layers, one of which has maps."""
    rng = np.random.default_rng(1)
    grid, ways = (2, 1, 2), ("layer", "reduction", "algorithm")
    label = np.arange(40) % 5
    parents = [] if corpus is None else [entry(corpus, "corpus", path)]
    with create_artifact(path, "test", _record("clusters", parents), force=True) as writer:
        for name in ("precision", "recall", "f_measure"):
            writer.put(name, rng.random(grid).astype(np.float32), ways)
        writer.put("n_clusters", np.full(grid, 3), ways)
        cluster = rng.integers(0, 3, (*grid, 40))
        writer.put("cluster", cluster, (*ways, "item"))
        writer.put("label", label, ("item",), flag_attributes(CLASSES))
        for name, flags in (("layer", ["conv1", "fc2"]), ("reduction", ["none"]),
                            ("algorithm", ["kmeans", "spectral"])):  # fmt: skip
            writer.name_axis(name, flags)
        if not optional:
            return
        writer.put("item_index", np.arange(40) % 20, ("item",))
        projection = rng.normal(size=(2, 40, 3)).astype(np.float32)
        writer.put("projection", projection, ("layer", "item", "component"))
        composition = np.zeros((*grid, 3, 5), dtype=np.int64)
        for where in np.ndindex(*grid):
            np.add.at(composition[where], (cluster[where], label), 1)
        writer.put("composition", composition, (*ways, "cluster_number", "class"))
        criterion = rng.random((2, 2, 4)).astype(np.float32)
        writer.put("criterion", criterion, ("layer", "algorithm", "k"))
        writer.put("k", np.array([2, 3, 4, 5]), ("k",))
        maps = np.full((2, 3, 5, 4, 6), np.nan, dtype=np.float32)
        maps[0] = rng.normal(size=maps[0].shape)
        maps[1, :, :, 0, 0] = 1.0
        dims = ("layer", "map", "class", "map_frequency", "map_time")
        writer.put("activation_map", maps, dims)
        means = rng.normal(size=(2, 1, 5, 3)).astype(np.float32)
        means[:, :, 3] = np.nan  # a class without samples
        writer.put("class_projection", means, ("layer", "embedding", "class", "component"))
        writer.put("embedding", np.arange(1), ("embedding",), flag_attributes(["pca"]))
        manners = flag_attributes(["vowel", "-"])
        writer.put("class_manner", np.array([0, 0, 1, 1, 1]), ("class",), manners)
        formants = np.full((5, 2), np.nan)
        formants[:2] = (343, 2323), (756, 1309)
        writer.put("formant", formants, ("class", "formant_number"), {"units": "Hz"})


def windows_of_letters(path: Path, corpus: Path) -> None:
    """Write relevance of windows around letters, of which a corpus of utterances has many more."""
    rng = np.random.default_rng(2)
    with create_artifact(
        path, "test", _record("relevance", [entry(corpus, "corpus", path)]), force=True
    ) as writer:
        shape = (3, 1, 6, 8)
        writer.put("input", rng.random(shape, np.float32), ("item", "channel", "frequency", "time"))
        relevance = rng.normal(size=(1, *shape)).astype(np.float32)
        writer.put("relevance", relevance, ("technique", "item", "channel", "frequency", "time"))
        writer.name_axis("technique", ["lrp"])
        writer.put("item_index", np.array([0, 5000, 9000]), ("item",))
        writer.put("score", np.ones(3, np.float32), ("item",))
        for name in ("label", "target", "predicted"):
            writer.put(name, np.arange(3), ("item",), flag_attributes(["a", "b", "c"]))


class Page(HTMLParser):
    """What stands in a page: its tags, its figures, its sounds, its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.size = len(text)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.data: list[Any] = []
        self.text = ""
        self.scripts = ""
        self._figure = ""
        self.images: dict[str, list[str]] = {}
        self.sounds: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)
        if tag == "section":
            self._figure = str(found.get("data-figure"))
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag == "image":
            self.images.setdefault(self._figure, []).append(str(found["href"]))
        if tag == "audio":
            self.sounds.append(str(found["src"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open[-1:] == [tag]:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"unexpected </{tag}>"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            kind = self.tags[-1][1].get("type")
            if kind == "application/json":
                self.data.append(json.loads(data))
            else:
                self.scripts += data
        elif self.open[-1:] != ["style"]:
            self.text += data
            if "td" in self.open:
                self.rows[-1][-1] += data

    @property
    def figures(self) -> list[str]:
        """The names of the figures that stand open."""
        return [str(found["data-figure"]) for _, found in self.tags if "data-figure" in found]


def content(address: str) -> bytes:
    """Return what a ``data:`` address holds."""
    head, _, body = address.partition(";base64,")
    assert head.startswith("data:") and body
    return base64.b64decode(body)


def undocumented(folder: Path) -> list[str]:
    """Return what artifacts of a folder hold that docs/artifacts.md does not name."""
    text = (Path(__file__).parents[1] / "docs" / "artifacts.md").read_text()
    sections = {part.split("\n")[0]: part for part in text.split("\n### ")[1:]}
    lacking: list[str] = []

    def need(names: Iterable[str], where: str, page: str = text) -> None:
        lacking.extend(f"{where}: {name}" for name in names if f"`{name}`" not in page)

    for path in sorted(folder.glob("*.zarr")):
        root = json.loads((path / "zarr.json").read_text())["attributes"]
        need(root, path.name)
        need(root["speechscope"], path.name)
        artifact = Artifact(path)
        for name in artifact:
            need(artifact.attributes(name), f"{path.name}/{name}")
            if artifact.dims(name) != (name,):
                need([name], path.name, sections[artifact.kind])
    for path in sorted(folder.glob("*.pt")):
        need(Checkpoint(path).values, path.name)
    return lacking
