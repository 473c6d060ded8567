"""Images and weights to change maps.

model.py and prediction.py are the engine; scoring.py serves Test_*, area.py serves Predict.
``load_model`` and ``predict_series`` are for use from Python:

    from mapping import load_model, predict_series

    model = load_model("best_model/Pretrained_model_Dynamic.pth")
    maps = predict_series("city/", model)
    maps.moment, maps.profile  # (H, W) uint8, and what rasterio needs to write it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mapping.in_memory import predict_series
    from mapping.model import load_model

__all__ = ["load_model", "predict_series"]

_PLACES = {"load_model": "mapping.model", "predict_series": "mapping.in_memory"}


def __getattr__(name: str) -> Any:
    """The functions above, imported when first asked for: PyTorch takes seconds to load."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
