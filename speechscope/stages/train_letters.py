"""``speechscope train`` on utterances with letters: the letter network."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speechscope import recipes
from speechscope.errors import UsageProblem
from speechscope.stages import output

NETWORK = "wav2letter"


def wanted(source: Path, recipe: str, network: str | None) -> bool:
    """Say whether letters are to be trained: by the network asked for, else by the corpus.

    Raises
    ------
    UsageProblem
        The corpus has letters and the network is another, or the other way round; or the training
        is to use several processes.
    """
    from speechscope.store.lineage import record_at

    has_letters = record_at(source)["config"].get("labels") == "letter"
    asked = network or recipes.resolve(recipe, "train", {})["network"]
    if has_letters and network not in (None, NETWORK):
        raise UsageProblem(
            f"--network {network}: {source} holds utterances with letters; --network {NETWORK} "
            "takes them"
        )
    if asked == NETWORK and not has_letters:
        raise UsageProblem(
            f"--network {NETWORK} takes utterances with letters, which {source} does not hold; "
            "make them with speechscope prepare --recipe krug2018"
        )
    if has_letters and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageProblem("--network wav2letter is trained in one process; leave torchrun out")
    return has_letters


def train_letters(
    source: Path,
    path: Path,
    recipe: str,
    flags: Mapping[str, Any],
    *,
    begin: Path | None,
    resume: bool,
    force: bool,
    device: str,
    seed: int,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Train the letter network and write it, as ``speechscope train`` says."""
    if recipes.table(recipe, "train")["network"].value != NETWORK:
        recipe = "krug2018"  # the one recipe that has letters
    chosen = recipes.resolve(recipe, "train", flags)

    from speechscope.corpus.alphabet import LETTERS
    from speechscope.corpus.store import Corpus
    from speechscope.networks.saved import first_weights, letter_values
    from speechscope.networks.wav2letter import Wav2Letter
    from speechscope.store import checkpoint
    from speechscope.store.lineage import entry
    from speechscope.store.record import new_record
    from speechscope.store.staging import staged
    from speechscope.training import letters
    from speechscope.training.acceleration import Acceleration
    from speechscope.training.ctc import constant_error
    from speechscope.training.pretrained import begin_from
    from speechscope.training.resume import ResumeFile
    from speechscope.training.utterances import CorpusUtterances, answers
    from speechscope.work.device import choose
    from speechscope.work.progress import bar

    where = choose(device)
    acceleration = Acceleration(chosen["precision"], chosen["compile"])
    acceleration.check(where)
    data = Corpus(source)
    data.items("train"), data.items("test")  # both are needed: say so before any work
    utterances = CorpusUtterances(data)
    channels, bins = data.mean.shape
    net = Wav2Letter(bins, chosen["width"], channels=channels).to(where)
    names = ("epochs", "batch", "padding", "lr", "schedule", "patience")
    settings = letters.LetterSettings(
        **{name: chosen[name] for name in names}, seed=seed, acceleration=acceleration
    )
    parents, start = [entry(source, "corpus", path)], None
    if begin is not None:
        given = checkpoint.Checkpoint(begin)
        start = first_weights(given, LETTERS)
        begin_from(net, start)  # whatever does not fit is said before any work
        parents.append(entry(begin, given.kind, path))
    record = new_record(
        "model",
        config={"recipe": recipe, **chosen, "from": None if begin is None else str(begin)},
        seed=seed,
        device=str(where),
        parents=parents,
    )
    unfinished = ResumeFile(path, record)

    def on_epoch(now: dict[str, Any]) -> None:
        unfinished.save_meanwhile(now)
        if verbose:
            output.note(_line(now["history"][-1]))

    with (
        staged(path, force=force or resume, directory=False) as unnamed,
        unfinished,
        bar("train", quiet=quiet) as progress,
    ):
        done = letters.train_letters(
            net,
            utterances,
            settings,
            start=start,
            state=unfinished.load(path) if resume else None,
            on_epoch=on_epoch,
            progress=progress,
        )
        net.load_state_dict(done.best)
        found = answers(net.eval(), utterances, "test", settings.batch)
        test = {
            "letter error rate": found.error,
            "of a constant answer": constant_error(found.texts),
        }
        values = {
            **letter_values(net, chosen["width"], weights=done.best, mean=data.mean),
            "history": [asdict(epoch) for epoch in done.history],
            "best_epoch": done.best_epoch,
            "selected_on": done.selected_on,
            "left_out": list(done.left_out),
            "test": test,
            "state": done.state,
        }
        checkpoint.write(unnamed, record, values)
    unfinished.clear()
    last = asdict(done.history[-1])
    if done.left_out:
        output.note(
            f"{len(done.left_out)} training utterances left out: their text does not fit in "
            "their frames",
            quiet=quiet,
        )
    output.note(
        f"{_line(last)}\nbest epoch {done.best_epoch} (chosen on {done.selected_on}): letter "
        f"error rate {found.error:.1%}, of a constant answer "
        f"{test['of a constant answer']:.1%}",
        quiet=quiet,
    )
    facts = {
        "network": NETWORK,
        "best_epoch": done.best_epoch,
        "selected_on": done.selected_on,
        "last": last,
        "test": test,
    }
    output.wrote(path, "model", as_json=as_json, facts=facts)


def _line(epoch: Mapping[str, float]) -> str:
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}, on test {epoch['test_loss']:.3f}, "
        f"letter error rate {epoch['error']:.1%} ({epoch['seconds']:.1f} s)"
    )
