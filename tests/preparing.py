"""Preparing tiny corpora with settings of the tests."""

from dataclasses import asdict
from pathlib import Path

from speechscope.corpus.prepare import Summary, prepare
from speechscope.corpus.settings import Settings
from speechscope.corpus.store import Corpus
from speechscope.features.transform import Transform
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact
from speechscope.work.local import Threads

SETTINGS = Settings(
    unit="segment",
    labels="phone",
    transform=Transform(samples=2554, window=267, overlap=122, bins=201, rate=16000),
    features="real",
    deltas=0,
    normalize="none",
    context=1,
    padding="zeros",
    duration=False,
    max_length=2554,
    layout=None,
    tier=None,
    phone_set="timit-48",
    mapping=None,
    split="auto",
    dev=0.0,
    seed=0,
    drop_sa=True,
)


def run(
    root: Path, path: Path, settings: Settings = SETTINGS, workers: int = 1
) -> tuple[Corpus, Summary]:
    """Prepare a corpus folder; return the corpus and what became of its items."""
    config = {**asdict(settings), **asdict(settings.transform)}
    del config["transform"]
    record = new_record("corpus", config=config, seed=settings.seed, device="cpu")
    with create_artifact(path, "test", record, force=False) as writer:
        summary = prepare(root, writer, settings, executor=Threads(workers))
    return Corpus(path), summary
