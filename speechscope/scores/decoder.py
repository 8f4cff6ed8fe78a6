"""The scores of `decoder.pt`: the errors measured when it was trained, and its leak test."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from speechscope.registry import SCORES
from speechscope.scores.tables import Row
from speechscope.store.checkpoint import Checkpoint

if TYPE_CHECKING:
    from speechscope.stages.score import Score

SHOWN = ("encoder", "decoder", "unpool", "stack", "relu")
"""Settings of its training beside each row."""


@SCORES.register("decoder")
def decoder_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield a row a layer: see `speechscope.training.leak_test.measure`.

    Raises
    ------
    ArtifactError
        The checkpoint is missing or damaged.
    """
    checkpoint = Checkpoint(path, "decoder")
    config = checkpoint.record["config"]
    made = {name: config[name] for name in SHOWN if name in config}
    for row in checkpoint.values["scores"]:
        yield {"artifact": path.name, **made, **row}
