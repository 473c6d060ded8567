"""CTMA with weights and images that a formula gives, and the numbers that must come out.

The numbers were computed in float64 by the authors' released program in eval mode, with fusion
weights 0.67 and 0.33. Weights: for a key k with values i = 0, 1, …, phase = CRC32(k) mod 1000,
q = sin(12.9898·i + phase)·43758.5453 and u = 2·(q − ⌊q⌋) − 1; see ``_value`` for what becomes
of u.
"""

from __future__ import annotations

import zlib
from functools import cache

import torch
from torch import Tensor

from models import CTMA

SIDE = 256

# tensor → mean, unbiased standard deviation, smallest, largest
STATISTICS = {
    "main": (-7.70503634, 3.85354251, -19.6056246, 7.93238211),
    "aux": (-0.112400738, 1.83842285, -5.58740095, 4.55375586),
    "conv_out_v": (-0.112400738, 1.83930715, -5.58740095, 4.55375586),
    "decoder1": (-17.175008, 6.1644751, -35.388813, 4.98817174),
    "decoder2": (11.5218757, 3.64469808, -5.34199163, 30.0848567),
    "difference": (0.670996449, 0.581218619, 3.27e-06, 4.39584117),
    "encoder_p1": (3.30742263, 4.18897924, 0.0, 27.1661751),
    "encoder_p2": (2.72381636, 3.48819096, 0.0, 21.6231713),
    "targets": (0.179638573, 0.287253268, 0.0, 0.999999969),
}
# (row, column) → main, decoder1, decoder2, aux
PIXELS = {
    (0, 0): (-0.967433452, -4.49583756, 6.1962961, -1.44745569),
    (0, 255): (-0.747494682, -1.80967123, 1.40904557, 3.3569685),
    (17, 200): (-8.89050097, -18.376542, 10.3690369, 1.78130246),
    (128, 128): (-5.34971566, -12.0912954, 8.33773407, 3.72144473),
    (255, 255): (-5.34136767, -8.59481071, 1.2641076, -2.13102492),
}
MASKED_CELLS = 514  # of 1024
MEANS = {(0.5, 0.5): -2.82656612, (0.7, 0.3): -8.56594285}  # of main, by fusion weights


def formula_state(network: CTMA) -> dict[str, Tensor]:
    """The weights that the formula gives, float64."""
    state = {
        key: values if key.endswith("num_batches_tracked") else _value(key, values)
        for key, values in network.state_dict().items()
    }
    state["conv_out_v.seq.0.bias"] = torch.full((1,), 5.4, dtype=torch.float64)
    return state


def formula_pair() -> Tensor:
    """(1, 2, 3, 256, 256) float64."""
    axis = torch.arange(SIDE, dtype=torch.float64)
    y, x, c = axis[:, None], axis[None, :], torch.arange(3, dtype=torch.float64)[:, None, None]
    first = 0.5 + 0.5 * torch.sin(0.05 * x + 0.03 * y + c)
    last = 0.5 + 0.5 * torch.cos(0.04 * x - 0.02 * y + 0.5 * c)
    return torch.stack((first, last))[None]


@cache
def formula_stages(dtype: torch.dtype) -> dict[str, Tensor]:
    """What each stage gives for the formula's pair, computed once per number format."""
    network = CTMA().double()
    network.load_state_dict(formula_state(network))
    network.eval().to(dtype)
    stages: dict[str, Tensor] = {}

    def keep(name: str, module: torch.nn.Module, last: bool = False) -> None:
        module.register_forward_hook(
            lambda _, __, result: stages.update({name: result[-1] if last else result})
        )

    for name in ("conv_out_v", "decoder1", "decoder2"):
        keep(name, network.get_submodule(name))
    keep("encoder_p1", network.encoder_p1, last=True)
    keep("encoder_p2", network.encoder_p2, last=True)
    network.encoder_p2.register_forward_hook(
        lambda _, arguments, __: stages.update(targets=arguments[0])
    )
    network.decoder1.register_forward_hook(
        lambda _, arguments, __: stages.update(difference=arguments[0])
    )
    with torch.inference_mode():
        output = network(formula_pair().to(dtype))
    return {**stages, "main": output.area_logits, "aux": output.aux_logits}


def _value(key: str, values: Tensor) -> Tensor:
    i = torch.arange(values.numel(), dtype=torch.float64)
    q = torch.sin(12.9898 * i + zlib.crc32(key.encode()) % 1000) * 43758.5453
    u = (2 * (q - q.floor()) - 1).view(values.shape)
    if values.dim() >= 4:
        gain = 3 if ".resnet." in key else 6
        return u * (gain / values[0].numel()) ** 0.5
    if key.endswith(("running_var", ".weight")):
        return 1 + 0.1 * u
    return 0.1 * u
