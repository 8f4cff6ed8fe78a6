"""Building the pretend device's extension, once: g++, a minute, outside of the checkout."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).with_name("fakegpu.cpp")
HEADERS = Path(torch.__file__).parent / "include" / "torch" / "extension.h"


def lacking() -> str:
    """Return what the extension cannot be built without, and is not here; "": it can be built."""
    python = Path(sysconfig.get_path("include"), "Python.h")
    if sys.platform != "linux":
        return "memory that is mapped twice needs Linux"
    if shutil.which("g++") is None:
        return "there is no g++"
    missing = [str(path) for path in (HEADERS, python) if not path.exists()]
    return f"{missing[0]} is not there" if missing else ""


def _folder() -> Path:
    """Return where it is built; another for every source, Python and PyTorch."""
    words = SOURCE.read_text(), torch.__version__, sys.version
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("FAKEGPU_BUILD", cache / "speechscope")) / f"fakegpu-{digest}"


def built() -> Any:
    """Return the extension's module; build it where no process did.

    In FAKEGPU_BUILD, else in ``~/.cache/speechscope``.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "fakegpu_native.so"
    with (folder / "lock").open("w") as lock:  # other processes import this, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _build(made)
    spec = importlib.util.spec_from_file_location("fakegpu_native", made)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _build(made: Path) -> None:
    include = HEADERS.parents[1]
    folders = (include, include / "torch/csrc/api/include", sysconfig.get_path("include"))
    library = Path(torch.__file__).parent / "lib"
    new = made.with_suffix(".new")
    command = [
        "g++", "-std=c++20", "-O0", "-g0", "-shared", "-fPIC", str(SOURCE), "-o", str(new),
        *(f"-I{folder}" for folder in folders), f"-L{library}",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        "-DTORCH_EXTENSION_NAME=fakegpu_native",
        "-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"the pretend device cannot be built:\n{result.stderr[:3000]}")
    new.rename(made)
