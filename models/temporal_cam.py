"""Fine change moment: the multiscale temporal class activation map (CAM) of CAIM-Net.

Within a window of k×k pixels each date's score is a weighted sum of the window's coarse
probabilities; scores are stretched to 0…1 over the dates and laid back over the pixels.

Paper: fine change moment extraction; weights per window as released, see
docs/differences.md#cam-weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

__all__ = ["TemporalCAM", "start_cams"]


class TemporalCAM(nn.Module):
    """Temporal CAM at one window size.

    Shape:
        coarse probabilities (B, T, H, W) → activation (B, T, H, W) in 0…1, float32.

    Args:
        window: k; H and W must be multiples of it.
        cam_windows: None for one set of k² weights for every window of every image (any B, H,
            W). (B, H, W) for a set of its own per window and batch slot, as in the released
            program: then H and W are fixed and at most B images go through at once.

    Attributes:
        first_slot: Batch slot of the first image, where a batch is computed in parts; 0 at first.

    Raises:
        ValueError: In ``forward``, when the images do not fit ``cam_windows``.

    Paper: multiscale temporal CAM; one map per scale.
    """

    def __init__(self, window: int, cam_windows: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.window = window
        self.cam_windows = cam_windows
        self.first_slot = 0
        first_row = torch.empty(window**2).uniform_(-1 / window, 1 / window)
        if cam_windows is None:
            self.weight = nn.Parameter(first_row)
        else:
            B, H, W = cam_windows
            rows = B * (H // window) * (W // window)
            self.weight = nn.Parameter(first_row.repeat(rows, 1))

    def forward(self, coarse_prob: Tensor) -> Tensor:
        """Activation (B, T, H, W) of coarse probabilities (B, T, H, W)."""
        _, _, H, W = coarse_prob.shape
        score = self._score(coarse_prob)  # (B, T, H/k, W/k)
        low, high = score.amin(dim=1, keepdim=True), score.amax(dim=1, keepdim=True)
        flat = high == low  # every date scores alike: no date stands out
        spread = torch.where(flat, 1.0, high - low)
        activation = torch.where(flat, 0.0, (score - low) / spread)
        return F.interpolate(activation, size=(H, W), mode="bilinear", align_corners=True)

    def _score(self, coarse_prob: Tensor) -> Tensor:
        k = self.window
        windows = rearrange(coarse_prob, "b t (h y) (w x) -> b h w t (y x)", y=k, x=k)
        if self.cam_windows is None:
            return einsum(windows, self.weight, "b h w t j, j -> b t h w")
        B, H, W = coarse_prob.shape[0], *coarse_prob.shape[2:]
        slots, fixed_H, fixed_W = self.cam_windows
        last = self.first_slot + B
        if slots < last or (fixed_H, fixed_W) != (H, W):
            raise ValueError(
                f"TemporalCAM: found a batch of {last} images of {H}×{W}, expected at most {slots} "
                f"of {fixed_H}×{fixed_W}: per-window weights belong to one batch and patch size. "
                f"Use --batch-size {slots} or less and patches of {fixed_H}×{fixed_W}, or "
                "convert the weights with models.share_cam_weights."
            )
        all_slots = rearrange(self.weight, "(b h w) j -> b h w j", b=slots, h=H // k, w=W // k)
        own = all_slots[self.first_slot : last]
        return einsum(windows, own, "b h w t j, b h w j -> b t h w")


def start_cams(network: nn.Module) -> None:
    """Set the CAM weights of a new network to +1/k²: each branch's evidence counts for it.

    As released they begin symmetric around zero, so that half of the branches begin with the sign
    against their own evidence.
    """
    for module in network.modules():
        if isinstance(module, TemporalCAM):
            nn.init.constant_(module.weight, 1 / module.window**2)
