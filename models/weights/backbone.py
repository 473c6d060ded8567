"""Starting a new network's ResNet-34 from an ImageNet file on disk; nothing is downloaded.

Only training a new network may want it; weights of CTMA hold their own. Not in the paper, which
uses ImageNet weights without saying how they are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from models import load_backbone
from models.weights.checkpoint import read_state_file
from utils.errors import CheckpointError
from utils.progress import say

__all__ = ["backbone_from"]


def backbone_from(path: Path | None) -> Callable[[nn.Module], None] | None:
    """What starts a new network's ResNet-34 from an ImageNet file; None without a file.

    Raises:
        CheckpointError: When called: the file cannot be read, or its tensors do not fit.
    """
    if path is None:
        return None

    def start(network: nn.Module) -> None:
        try:
            load_backbone(network, read_state_file(path))
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        say(f"ResNet-34 starts from {path}")

    return start
