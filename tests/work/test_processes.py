"""Threads keep the memory of arrays they are done with."""

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading
import torch
from speechscope.work.processes import keep_freed

torch.set_num_threads(1)
if sys.argv[1] == "kept":
    keep_freed()

def work():
    def some():
        return [torch.ones(400_000) for _ in range(10)]

    for _ in range(3):
        some()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        some()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="of glibc")
def test_a_thread_does_not_fault_freed_pages_in_again() -> None:
    # Ten times ten arrays of 1.6 MB, 390 pages each.
    assert faults("kept") < 10_000
    assert faults("given back") > 10_000  # or there was nothing to be kept
