"""bfloat16 and its emulation (benchmarks/bfloat16.py, benchmarks/bfloat16_products.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks import bfloat16, bfloat16_products
from benchmarks.bfloat16_products import RoundedProducts, describe_products
from data_processing import Dynamic_create_xys, Dynamic_Fsplit
from models import CAIMNet
from tests.scene_files import write_data_root
from utils.checkpoint import Checkpoint, save_checkpoint
from utils.errors import UserError
from utils.files import read_json
from utils.losses import caim_loss

CPU = torch.device("cpu")
STEP = 2.0**-7  # from one bfloat16 number to the next, at most, as a share of the number
