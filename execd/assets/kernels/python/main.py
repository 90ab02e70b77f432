"""Starts the Python kernel: `python3 main.py [CACHE_DIR]`, its channel to execd being descriptor 3.

This directory is read-only where the kernel runs, so Python could not keep what it compiles of it: CACHE_DIR is for that.
"""

import os
import sys

if sys.version_info < (3, 6):
    sys.exit("Python 3.6 or newer is needed: this is " + sys.version.split()[0])

no_bytecode, prefix = sys.dont_write_bytecode, getattr(sys, "pycache_prefix", None)
# Older Pythons could only keep it here.
sys.dont_write_bytecode = len(sys.argv) < 2 or sys.version_info < (3, 8)
if not sys.dont_write_bytecode:
    sys.pycache_prefix = sys.argv[1]

here = os.path.dirname(os.path.abspath(__file__))
# Whether Python has put it there depends on its options.
sys.path[:] = [here] + [path for path in sys.path if path != here]
from opensandbox_kernel.kernel import Kernel  # noqa: E402

sys.dont_write_bytecode, sys.pycache_prefix = no_bytecode, prefix
sys.argv = [""]
# Modules of the user's are found in the current directory, as in an interactive interpreter.
sys.path[:1] = [] if getattr(sys.flags, "safe_path", False) else [""]

Kernel(channel_fd=3).serve()
