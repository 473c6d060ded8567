"""Getting a network ready to run: device, number format, memory against time, compilation.

None of this changes what is computed, but for the rounding of bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from utils.device import Precision, bfloat16_unit, keep_freed_memory
from utils.errors import UserError
from utils.progress import say

__all__ = ["ready_to_run"]


def ready_to_run(
    network: nn.Module,
    device: torch.device,
    precision: Precision = "float32",
    *,
    compiled: bool = False,
    recompute: bool = False,
) -> nn.Module:
    """Bring a network to its device and set how it runs there.

    Args:
        network: Any network of ``models``.
        device: Where it will run.
        precision: What it will run in; a CPU that only emulates bfloat16 is warned of.
        compiled: Whether ``torch.compile`` is used. What it makes is built at the first batch,
            which takes minutes; if that fails, the reason is said and the network runs without.
        recompute: Whether most activations are computed again in the backward pass instead of
            being kept ("activation checkpointing").

    Returns:
        The network itself.

    Raises:
        UserError: ``recompute`` is asked of a network that cannot do it.
    """
    keep_freed_memory(device)
    if precision == "bfloat16" and device.type == "cpu" and bfloat16_unit() is None:
        say(
            "warning: this processor has no bfloat16 instructions and emulates them, which takes "
            "many times as long as --precision float32."
        )
    if recompute:
        if not hasattr(network, "recompute"):
            raise UserError(
                f"--recompute: {type(network).__name__} keeps all activations, expected a network "
                "that can compute them again; leave the flag out."
            )
        network.recompute = True  # type: ignore[assignment]
    network.to(device)
    if compiled:
        network.forward = _compiled_or_plain(network.forward)
    return network


def _compiled_or_plain(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass that is compiled, unless the first try fails: then it stays as it was."""
    chosen: list[Callable[..., Any]] = []

    def forward(*arguments: Any, **options: Any) -> Any:
        if chosen:
            return chosen[0](*arguments, **options)
        say("--compile: compiling at the first batch, which takes a while")
        try:
            compiled = torch.compile(plain)
            result = compiled(*arguments, **options)
        except Exception as error:  # compilers fail in many ways; a fault of ours shows again below
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            say(f"warning: --compile failed, going on without ({reason})")
            chosen.append(plain)
            return plain(*arguments, **options)
        chosen.append(compiled)
        return result

    return forward
