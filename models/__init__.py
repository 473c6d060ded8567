"""The networks and the one interface through which the rest of the project uses them.

``build_network`` makes a network by name from plain numbers; every network takes images
(B, T, C, H, W) and gives ``ChangeMaps`` by ``predict``. No files, devices or training here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from models.caim_net import CAIMNet, CAIMNetOutput, caim_area_prob_bounds
from models.change_maps import ChangeMaps, area_prob_from_moment, moment_label_from_prob
from models.ctma import CTMA, CTMAOutput
from models.input_checks import check_pair, check_series
from models.resnet34 import load_backbone
from models.temporal_cam import start_cams

__all__ = [
    "CTMA",
    "NETWORKS",
    "CAIMNet",
    "CAIMNetOutput",
    "CTMAOutput",
    "ChangeMaps",
    "area_prob_bounds",
    "area_prob_from_moment",
    "build_network",
    "check_pair",
    "check_series",
    "gives_moments",
    "load_backbone",
    "moment_label_from_prob",
    "start_cams",
]

NETWORKS: Mapping[str, type[nn.Module]] = {"caim_net": CAIMNet, "ctma": CTMA}


def build_network(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network by its name.

    Args:
        name: A key of ``NETWORKS``.
        arguments: Keyword arguments of its constructor, as a checkpoint stores them.

    Raises:
        ValueError: Unknown name or argument.
    """
    if name not in NETWORKS:
        raise ValueError(f"build_network: found {name!r}, expected one of {sorted(NETWORKS)}.")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return NETWORKS[name](**given)
    except TypeError as error:
        raise ValueError(f"build_network: {name} was given unknown arguments: {error}") from error


def gives_moments(name: str) -> bool:
    """Whether a network of ``NETWORKS`` says when something changed, or for pairs only whether."""
    return name != "ctma"


def area_prob_bounds(name: str, arguments: Mapping[str, Any]) -> tuple[float, float]:
    """Smallest and largest probability of "changed" that a network can give.

    Args:
        name: A key of ``NETWORKS``.
        arguments: Of its constructor.

    Returns:
        Those of CAIM-Net, whose stacked softmaxes keep them near one half; else (0, 1).
    """
    return caim_area_prob_bounds(arguments["num_dates"]) if name == "caim_net" else (0.0, 1.0)
