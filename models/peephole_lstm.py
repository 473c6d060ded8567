"""Peephole LSTM over dates, run at every pixel (temporal stage of CAIM-Net).

Not torch.nn.LSTM: the gates also see the cell state, through full matrices.

Paper: temporal modelling of change features; gate layout from the released program.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PeepholeLSTM"]


class PeepholeLSTM(nn.Module):
    """LSTM whose gates see the cell: i and f the old one, o the new one.

    With rows of the stacked matrices in the order i, f, g, o::

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh
        i = σ(i + W_pi c),  f = σ(f + W_pf c),  c ← f·c + i·tanh(g)
        o = σ(o + W_po c),  h ← o·tanh(c)

    Shape:
        (N, S, input_dim) → hidden states of all S steps (N, S, hidden_dim); zero initial state.

    Args:
        input_dim: Channels of each step; also sets the initial range ±1/√input_dim.
        hidden_dim: Channels of the hidden and cell state.

    Paper: LSTM over dates; definition of the gates from the released program's behaviour.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_dim, input_dim))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_dim, hidden_dim))
        self.weight_pi = nn.Parameter(torch.empty(hidden_dim, hidden_dim))
        self.weight_pf = nn.Parameter(torch.empty(hidden_dim, hidden_dim))
        self.weight_po = nn.Parameter(torch.empty(hidden_dim, hidden_dim))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_dim))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_dim))
        bound = 1 / math.sqrt(input_dim)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, steps: Tensor) -> Tensor:
        """Hidden states (N, S, hidden_dim) for steps (N, S, input_dim)."""
        gates = F.linear(steps, self.weight_ih, self.bias_ih + self.bias_hh)
        no_peephole = self.weight_hh.new_zeros(2 * self.hidden_dim, self.hidden_dim)
        peephole = torch.cat((self.weight_pi, self.weight_pf, no_peephole))
        recurrent = torch.cat((self.weight_hh, peephole), dim=1)  # (4·hidden, 2·hidden)
        hidden = cell = gates.new_zeros(gates.shape[0], self.hidden_dim)
        states = []
        for gate in gates.unbind(1):
            gate = gate + F.linear(torch.cat((hidden, cell), dim=-1), recurrent)
            i, f, g, o = gate.chunk(4, dim=-1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o + F.linear(cell, self.weight_po)) * torch.tanh(cell)
            states.append(hidden)
        return torch.stack(states, dim=1)
