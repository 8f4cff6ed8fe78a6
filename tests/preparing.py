"""Preparing tiny corpora with settings of the tests."""

from dataclasses import replace
from pathlib import Path

from speechscope.corpus.prepare import prepare
from speechscope.corpus.reading import Summary
from speechscope.corpus.store import Corpus
from speechscope.settings import record_of
from speechscope.stages.prepare import Prepare
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact
from speechscope.work.local import Threads

SETTINGS = Prepare(folder=Path("timit"))


def run(
    root: Path, path: Path, settings: Prepare = SETTINGS, workers: int = 1
) -> tuple[Corpus, Summary]:
    """Prepare a corpus folder; return the corpus and what became of its items."""
    chosen = replace(settings, folder=root).resolved()
    record = new_record("corpus", config=record_of(chosen), seed=chosen.seed, device="cpu")
    with create_artifact(path, "test", record, force=False) as writer:
        summary = prepare(root, writer, chosen, executor=Threads(workers))
    return Corpus(path), summary
