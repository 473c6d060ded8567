"""Correlation of pixels by one transformer encoder layer (second stage of CAIM-Net).

The paper speaks of *spatial* correlation: tokens are the pixels of a patch. The released program
hands the tensor over with its axes in an order that makes attention mix the patches of a batch
instead, separately at every pixel position. Both are here; see docs/differences.md#attention.

Paper: difference extraction and enhancement.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.block_attention import block_attention, blocks_are_faster
from models.dropout import LeanDropout

__all__ = ["AttentionAxis", "Correlation"]

AttentionAxis = Literal["spatial", "batch"]


class Correlation(nn.Module):
    """Post-norm transformer encoder layer over pixels, without positional encoding.

    Shape:
        tokens (B, N, E) → (B, N, E), float; N pixels, all H·W of a patch for "spatial".

    Args:
        embed_dim: E, the number of channels per pixel, a multiple of ``num_heads``.
        attention: "spatial" attends over the H·W pixels of a patch, so that a prediction depends
            on its own patch only; "batch" attends over the B patches at each pixel position, as
            the released program does (needed to reproduce released weights).
        num_heads: 4 as released.
        dropout: 0.1 as released; acts after attention, after ReLU and after the second linear.
        attention_dropout: Dropout of the attention probabilities. None means ``dropout`` for
            "batch" and 0 for "spatial": with it, CPU kernels fall back to the full
            (H·W) × (H·W) matrix.

    Raises:
        ValueError: ``embed_dim`` is no multiple of ``num_heads``, or an unknown ``attention``.

    Paper: correlation by a transformer encoder; head count, widths and dropout from the released
    program.
    """

    def __init__(
        self,
        embed_dim: int,
        attention: AttentionAxis = "spatial",
        num_heads: int = 4,
        dropout: float = 0.1,
        attention_dropout: float | None = None,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"Correlation: found embed_dim={embed_dim}, expected a multiple of "
                f"num_heads={num_heads}."
            )
        if attention not in ("spatial", "batch"):
            raise ValueError(
                f"Correlation: found attention={attention!r}, expected 'spatial' or 'batch'."
            )
        if attention_dropout is None:
            attention_dropout = dropout if attention == "batch" else 0.0
        self.attention = attention
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.in_proj = nn.Linear(embed_dim, 3 * embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.linear1 = nn.Linear(embed_dim, 4 * embed_dim)
        self.linear2 = nn.Linear(4 * embed_dim, embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.dropout = LeanDropout(dropout)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Correlate tokens (B, N, E); the result has the same shape."""
        B = tokens.shape[0]
        rows = rearrange(tokens, "b n e -> (b n) e")
        rows = self.norm1(rows + self.dropout(self._attend(rows, B)))
        hidden = self.dropout.after_relu(self.linear1(rows))
        rows = self.norm2(rows + self.dropout(self.linear2(hidden)))
        correlated: Tensor = rearrange(rows, "(b n) e -> b n e", b=B)
        return correlated

    def _attend(self, rows: Tensor, B: int) -> Tensor:
        """Multi-head attention along the chosen axis by a kernel that never stores the matrix."""
        if self.attention == "spatial":
            split, merge = "(b n) (qkv h d) -> qkv b h n d", "b h n d -> (b n) (h d)"
        else:
            split, merge = "(b n) (qkv h d) -> qkv n h b d", "n h b d -> (b n) (h d)"
        projected = rearrange(self.in_proj(rows), split, b=B, qkv=3, h=self.num_heads)
        query, key, value = projected.unbind(0)
        dropout = self.attention_dropout if self.training else 0.0
        if self.attention == "spatial" and blocks_are_faster(query, dropout):
            mixed = block_attention(query, key, value)
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        attended: Tensor = self.out_proj(rearrange(mixed, merge))
        return attended
