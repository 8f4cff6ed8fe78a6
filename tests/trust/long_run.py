"""The long attempts to break speechscope, and their log.

    python tests/trust/long_run.py PART [--count N] [--seed N] [--stages A,B] [--log FILE]

PART is kills, changes, sizes, disk, flips, chunks, cold, workers, use or fuzz. A line for each
stage is printed and added to the log; the exit code is 1 if anything was not as it has to be, with
the reason.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from trust import campaign, fuzz, stages, use, workers
from trust.server import ForkServer

ENDINGS = "enospc,eio,kill,term,int"
COUNTS = {"kills": 50, "changes": 60, "sizes": 25, "disk": 60, "flips": 1000, "chunks": 400,
          "cold": 60, "workers": 40, "use": 3000, "fuzz": 100_000}  # fmt: skip
BY_STAGE: dict[str, Callable[[campaign.Target, int, int, str], Counter[str]]] = {
    "kills": lambda target, count, seed, _: campaign.kills(target, count, seed),
    "changes": lambda target, count, seed, endings: campaign.failing_changes(
        target, endings.split(","), count, seed
    ),
    "sizes": lambda target, count, *_: campaign.small_files(target, count),
    "disk": lambda target, count, *_: campaign.full_disk(target, count),
    "cold": lambda target, count, seed, _: campaign.cold_signals(target, count, seed),
}
"""Parts that are made of each stage, `count` times."""


def main() -> int:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=[*BY_STAGE, "workers", "use", "flips", "chunks", "fuzz"])
    parser.add_argument("--count", type=int, help="a stage, or in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", help="comma-separated; all that write, or of workers")
    parser.add_argument("--endings", default=ENDINGS, help="of changes: what happens at one")
    parser.add_argument("--laid", type=Path, help="a folder of artifacts, made if it is not there")
    parser.add_argument("--log", type=Path, help="a file to add to")
    chosen = parser.parse_args()
    count = COUNTS[chosen.part] if chosen.count is None else chosen.count
    known = workers.LOST if chosen.part == "workers" else stages.STAGES
    names = chosen.stages.split(",") if chosen.stages else list(known)
    bad = 0

    def say(line: str) -> None:
        print(line, flush=True)
        if chosen.log:
            with chosen.log.open("a") as file:
                file.write(f"{line}\n")

    def attempt(name: str, do: Callable[[], Counter[str]]) -> None:
        nonlocal bad
        begun = time.monotonic()
        try:
            found = ", ".join(f"{what} {n}" for what, n in sorted(do().items()))
        except Exception:
            bad += 1
            found = f"FAILED\n{traceback.format_exc()}"
        say(f"{name}: {found} ({time.monotonic() - begun:.0f} s)")

    day = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    say(f"# {chosen.part} --count {count} --seed {chosen.seed}, {day}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{os.cpu_count()} cores")  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="trust-", dir=memory()))
    try:
        if chosen.part == "fuzz":
            attempt("fuzz", lambda: fuzz.many(folder, range(count), chosen.seed))
            return bad
        with ForkServer() as server:
            laid = chosen.laid or folder / "laid"
            if not laid.exists():
                stages.lay_out(server, laid)
            if chosen.part == "flips":
                work = stages.copy_of(laid, folder / "work")
                attempt("flips", lambda: campaign.flips(server, work, count, chosen.seed))
            elif chosen.part == "use":
                work = stages.copy_of(laid, folder / "work")
                attempt("use", lambda: use.long_use(server, work, count))
            elif chosen.part == "chunks":
                work = stages.copy_of(laid, folder / "work")
                attempt("chunks", lambda: campaign.lost_chunks(server, work, count, chosen.seed))
            elif chosen.part == "workers":
                for name in names:
                    room = stages.copy_of(laid, folder / f"work-{name}")
                    attempt(
                        name,
                        lambda name=name, room=room: workers.LOST[name](  # type: ignore[misc]
                            server, room, count, chosen.seed
                        ),
                    )
            else:
                for name in names:
                    room = folder / f"at-{name.replace(' ', '-')}"
                    room.mkdir()
                    attempt(
                        name,
                        lambda name=name, room=room: BY_STAGE[chosen.part](  # type: ignore[misc]
                            campaign.Target(server, laid, room, name),
                            count,
                            chosen.seed,
                            chosen.endings,
                        ),
                    )
                    shutil.rmtree(room)
    finally:
        shutil.rmtree(folder)
    return min(bad, 1)


def memory() -> Path | None:
    """Return a folder in memory, where there is one: the disk is not what is tried here."""
    found = Path("/dev/shm")
    return found if found.is_dir() else None


if __name__ == "__main__":
    sys.exit(main())
