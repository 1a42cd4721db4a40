"""Work of the compiled library is shared among threads, whether PyTorch has brought some or not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from d2r.kernel.library import library
from tests.support.compiled import BUILT

pytestmark = pytest.mark.skipif(not BUILT, reason="the library is not built: no C++ compiler")

WITHOUT_PYTORCH = """
import ctypes, sys
from array import array

size = 2_000_000
kernel = ctypes.CDLL(sys.argv[1])
try:
    kernel.GOMP_parallel
    sys.exit("this process has OpenMP")
except AttributeError:
    pass
own, goal = array("d", range(size)), array("d", bytes(8 * size))
one_tensor = (ctypes.c_long * 4)(1, 1, 1, size)
places = [(ctypes.c_void_p * 1)(numbers.buffer_info()[0]) for numbers in (own, goal)]
kernel.d2r_follow_f64(one_tensor, *places, ctypes.c_double(0.25), int(sys.argv[2]))
assert own == array("d", (0.75 * number for number in range(size)))
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_where_no_openmp_is_loaded_threads_are_started(level: str, threads: int) -> None:
    command = [sys.executable, "-S", "-c", WITHOUT_PYTORCH, str(library(level)), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
