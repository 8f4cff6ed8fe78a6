"""The chain gives the same with and without the accelerators (``SPEECHSCOPE_PLAIN=1``)."""

from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from speechscope import stages
from speechscope.store.artifact import Artifact
from speechscope.work.accelerators import PLAIN

ANY = {"algorithm": "kmeans", "clusters": "4", "correct": False, "probes": False}
LOOKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "inversion": (
        "invert",
        {"layer": "1,9", "method": "decode+bp,anneal", "rate": 1e-3},
        "objective",
    ),
    "relevance": ("relevance", {"method": "guided,lrp", "all": True}, "relevance"),
    "clusters": ("cluster", {"layer": "pool1", "reduce": "none", **ANY}, "cluster"),
}


def test_every_stage_gives_the_same_without_accelerators(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora.timit(workdir / "timit", speakers=3, sentences=2)
    stages.run("prepare", {"folder": "timit"})
    losses = {}
    for plain in ("1", ""):
        monkeypatch.setenv(PLAIN, plain)
        budget = {"epochs": 1, "per_class": 6, "batch": 12, "force": True}
        result = stages.run("train", budget)
        losses[plain] = result.facts["last"]["loss"]  # type: ignore[attr-defined]
    assert losses["1"] == pytest.approx(losses[""], rel=1e-3)
    few = {"layer": "1,9", "epochs": 1, "together": 0, "per_class": 2}
    stages.run("decode-train", few)
    small = {"steps": 10, "proposals": 60, "items": "0:3"}
    for kind, (name, given, array) in LOOKS.items():
        found = []
        for plain in ("1", ""):
            monkeypatch.setenv(PLAIN, plain)
            path = workdir / f"{kind}{plain}.zarr"
            stages.run(name, {**given, **(small if name == "invert" else {}), "output": path})
            found.append(Artifact(path).read(array))
        size = np.nanmax(np.abs(found[0]))
        np.testing.assert_allclose(found[0], found[1], atol=1e-5 * size, err_msg=kind)
