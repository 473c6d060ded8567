"""bfloat16 and its emulation (benchmarks/bfloat16.py, benchmarks/bfloat16_products.py)."""

from __future__ import annotations

import torch

CPU = torch.device("cpu")
STEP = 2.0**-7  # from one bfloat16 number to the next, at most, as a share of the number
