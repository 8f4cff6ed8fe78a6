"""How much a reader of ``invert --method decode+bp`` has to find: functions, files and hops.

    python tools/trace_invert.py DECODER_FOLDER

runs it in a folder that holds ``corpus.zarr``, ``model.pt`` and ``decoder.pt``, and prints how many
functions of speechscope are entered, in how many files, and how often the next function that is
entered for the first time stands in another file (hops), or in a file that was left before
(returns). What runs while modules are imported does not count.
"""

import os
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import speechscope
from speechscope import cli

PACKAGE = str(Path(speechscope.__file__).parent)
COMMAND = ["invert", "--layer", "9", "--method", "decode+bp", "--steps", "20", "-q", "-f"]


def importing(frame: FrameType | None) -> bool:
    """Say whether a module of the package is being imported."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


def entered(command: list[str]) -> list[CodeType]:
    """Return the functions that a command enters, in the order of their first calls."""
    order: dict[CodeType, None] = {}

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if (
            event == "call"
            and code.co_filename.startswith(PACKAGE)
            and not code.co_name.startswith("<")  # comprehensions are read with their function
            and code not in order
            and not importing(frame)
        ):
            order[code] = None

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        code = cli.run(command)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if code:
        raise SystemExit(code)
    return list(order)


def counts(order: list[CodeType]) -> dict[str, int]:
    """Return how many functions and files there are, and the ways between the files."""
    files = [code.co_filename for code in order]
    hops = sum(one != other for one, other in pairwise(files))
    return {
        "functions": len(order),
        "files": len(set(files)),
        "hops": hops,
        "returns": hops - len(set(files)) + 1,
    }


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    found = entered([*COMMAND, "-o", "traced.zarr"])
    if "-v" in sys.argv:
        for code in found:
            place = code.co_filename[len(PACKAGE) + 1 :]
            print(f"{place}:{code.co_firstlineno} {code.co_qualname}")
    print(*(f"{number} {what}" for what, number in counts(found).items()), sep=", ")
