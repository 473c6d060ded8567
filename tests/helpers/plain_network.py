"""CAIM-Net once more in plain PyTorch: the formulas in their order, nothing for speed or memory.

Written from the stages in docs/paper_map.md, for two uses: tests hold the network of ``models/``
against it, weights and gradients included, and benchmarks/throughput.py says how much faster than
this that network is. Parameters have the same names, so either loads the other's weights; CAM
weights are shared ones only. Nothing of the network's stages in ``models/`` is imported.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models import CAIMNetOutput

__all__ = ["PlainCAIMNet"]


class PlainCAIMNet(nn.Module):
    """The whole network; give it weights by ``load_state_dict``, its own are noise.

    Shape:
        images (B, T, C, H, W) float → what ``CAIMNet`` gives.

    Args:
        in_channels: C, bands per image.
        num_dates: T ≥ 2.
        width: D, a multiple of 4.
        attention: "spatial" (over the pixels of a patch) or "batch" (over the batch).
        num_heads: Heads of the attention.
        dropout: Of the transformer layer; with "batch" also of the attention probabilities.
    """

    def __init__(
        self,
        in_channels: int = 4,
        num_dates: int = 6,
        width: int = 64,
        attention: Literal["spatial", "batch"] = "spatial",
        num_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.attention, self.num_heads, self.dropout = attention, num_heads, dropout
        S, D, E, half = num_dates - 1, width, (num_dates - 1) * width, width // 2
        self.encoder = nn.ModuleDict(
            {
                "context": nn.Sequential(_unit(in_channels, 16, 3), _unit(16, D, 3)),
                "residual": nn.Sequential(_unit(in_channels, 16, 1), _unit(16, D, 1)),
                "merge": _unit(D, D, 3),
            }
        )
        self.be_conv = _parameters(weight=(E, 1, 3, 3))
        self.correlation = nn.ModuleDict(
            {
                "in_proj": nn.Linear(E, 3 * E),
                "out_proj": nn.Linear(E, E),
                "norm1": nn.LayerNorm(E),
                "linear1": nn.Linear(E, 4 * E),
                "linear2": nn.Linear(4 * E, E),
                "norm2": nn.LayerNorm(E),
            }
        )
        self.temporal = _parameters(
            weight_ih=(4 * half, D),
            weight_hh=(4 * half, half),
            weight_pi=(half, half),
            weight_pf=(half, half),
            weight_po=(half, half),
            bias_ih=(4 * half,),
            bias_hh=(4 * half,),
        )
        self.coarse_moment1 = nn.ModuleDict(
            {"conv": nn.Conv2d(half, 2, 1), "norm": nn.GroupNorm(1, 2)}
        )
        self.coarse_moment2 = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(S * half, half, 3, padding=1),
                "norm1": nn.GroupNorm(2, half),
                "conv2": nn.Conv2d(half, num_dates, 3, padding=1),
            }
        )
        self.fine_moment1 = nn.ModuleList(_parameters(weight=(k * k,)) for k in (2, 4))
        self.fine_moment2 = nn.ModuleList(_parameters(weight=(k * k,)) for k in (2, 4))

    def forward(self, images: Tensor) -> CAIMNetOutput:
        """Change area, change moment and the four fine moments."""
        B, T, _, H, _ = images.shape
        features = self._encoder(rearrange(images, "b t c h w -> (b t) c h w"))
        features = rearrange(features, "(b t) d h w -> b t d h w", b=B)
        difference = (features[:, 1:] - features[:, :-1]).abs()
        enhanced = self._boundaries(rearrange(difference, "b s d h w -> b (s d) h w"))
        tokens = self._transformer(rearrange(enhanced, "b e h w -> b (h w) e"))
        states = self._lstm(rearrange(tokens, "b n (s d) -> (b n) s d", s=T - 1))
        states = rearrange(states, "(b h w) s d -> b s d h w", b=B, h=H)

        coarse1, coarse2 = self._stepwise(states), self._segmentation(states)

        # as in ``CAIMNet`` at least float32 from here on, whatever the precision above
        fine = []
        with torch.autocast(images.device.type, enabled=False):
            for logits, scales in ((coarse1, self.fine_moment1), (coarse2, self.fine_moment2)):
                prob = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)
                fine += [_cam(prob, cam["weight"]).softmax(dim=1) for cam in scales]
            fine_prob = torch.stack(fine, dim=1)
            moment_prob = fine_prob.sum(dim=1).softmax(dim=1)
            pair = torch.stack((moment_prob[:, 0], moment_prob[:, 1:].amax(dim=1)), dim=1)
            return CAIMNetOutput(pair.softmax(dim=1), moment_prob, fine_prob)

    def _encoder(self, image: Tensor) -> Tensor:
        context, residual = self.encoder["context"](image), self.encoder["residual"](image)
        return self.encoder["merge"](context + residual)

    def _boundaries(self, difference: Tensor) -> Tensor:
        kernel = self.be_conv["weight"].clone()
        kernel[:, :, 1, 1] -= kernel.sum(dim=(2, 3))
        return difference + F.conv2d(difference, kernel, padding=1, groups=len(kernel))

    def _transformer(self, tokens: Tensor) -> Tensor:
        layer = self.correlation
        attended = layer["out_proj"](self._attention(layer["in_proj"](tokens)))
        tokens = layer["norm1"](tokens + F.dropout(attended, self.dropout, self.training))
        hidden = F.dropout(F.relu(layer["linear1"](tokens)), self.dropout, self.training)
        outer = F.dropout(layer["linear2"](hidden), self.dropout, self.training)
        return layer["norm2"](tokens + outer)

    def _attention(self, projected: Tensor) -> Tensor:
        heads = "b n (three h d) -> three b h n d"
        query, key, value = rearrange(projected, heads, three=3, h=self.num_heads)
        if self.attention == "spatial":
            mixed = F.scaled_dot_product_attention(query, key, value)
            return rearrange(mixed, "b h n d -> b n (h d)")
        query, key, value = (rearrange(x, "b h n d -> n h b d") for x in (query, key, value))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        share = F.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        return rearrange(share @ value, "n h b d -> b n (h d)")

    def _lstm(self, steps: Tensor) -> Tensor:
        w = self.temporal
        from_input = list(zip(w["weight_ih"].chunk(4), w["bias_ih"].chunk(4), strict=True))
        from_hidden = list(zip(w["weight_hh"].chunk(4), w["bias_hh"].chunk(4), strict=True))
        hidden = cell = steps.new_zeros(len(steps), w["weight_hh"].shape[1])
        states = []
        for step in steps.unbind(1):
            i, f, g, o = (
                F.linear(step, *of_input) + F.linear(hidden, *of_hidden)
                for of_input, of_hidden in zip(from_input, from_hidden, strict=True)
            )
            i = torch.sigmoid(i + F.linear(cell, w["weight_pi"]))
            f = torch.sigmoid(f + F.linear(cell, w["weight_pf"]))
            cell = f * cell + i * torch.tanh(g)
            o = torch.sigmoid(o + F.linear(cell, w["weight_po"]))
            hidden = o * torch.tanh(cell)
            states.append(hidden)
        return torch.stack(states, dim=1)

    def _stepwise(self, states: Tensor) -> Tensor:
        stage = self.coarse_moment1
        steps = torch.stack([stage["norm"](stage["conv"](x)) for x in states.unbind(1)], dim=1)
        return torch.cat((steps[:, :, 0].amin(dim=1, keepdim=True), steps[:, :, 1]), dim=1)

    def _segmentation(self, states: Tensor) -> Tensor:
        stage = self.coarse_moment2
        hidden = stage["norm1"](stage["conv1"](rearrange(states, "b s d h w -> b (s d) h w")))
        return stage["conv2"](hidden)


def _unit(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same", bias=False)
    return nn.Sequential(conv, nn.GroupNorm(2, out_channels), nn.ReLU())


def _cam(prob: Tensor, weight: Tensor) -> Tensor:
    """Activation (B, T, H, W): windows' scores, stretched to 0…1 over the dates."""
    B, k = len(prob), math.isqrt(len(weight))
    kernel = weight.reshape(1, 1, k, k)
    score = F.conv2d(rearrange(prob, "b t h w -> (b t) 1 h w"), kernel, stride=k)
    score = rearrange(score, "(b t) 1 h w -> b t h w", b=B)
    low, high = score.amin(dim=1, keepdim=True), score.amax(dim=1, keepdim=True)
    spread = torch.where(high > low, high - low, 1)  # alike at all dates: 0 everywhere
    activation = (score - low) / spread
    return F.interpolate(activation, size=prob.shape[2:], mode="bilinear", align_corners=True)


def _parameters(**shapes: tuple[int, ...]) -> nn.ParameterDict:
    return nn.ParameterDict({name: 0.1 * torch.randn(shape) for name, shape in shapes.items()})
