"""What the tests share: two cores used fairly, and one small exported bundle."""

from __future__ import annotations

import os

# One thread a test process: two processes share two cores, and sums have one order.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
