"""CAIM-Net, its loss and its weights once more, literally and slowly, in plain float64 NumPy.

Written from the paper's and the released program's behaviour with loops over heads, steps and
windows and the full attention matrix; nothing of ``models/`` or ``utils/`` is imported, so that an
error would have to be made twice. Weights go by the released format's key names, which are facts
of their own (golden/README.md).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = [
    "GOLDEN",
    "focal_loss",
    "golden_numbers",
    "network",
    "random_released_state",
    "released_shapes",
]

GOLDEN = Path(__file__).parents[1] / "golden"
HEADS = 4
LAYER = "Spatial_Attention.transformer.layers.0."
LSTM = "Temporal_Attention.LSTM_diff."
CAMS = (
    ("Fine_Change_Moment1_2.fc_weight2", 2),
    ("Fine_Change_Moment1_3.fc_weight3", 4),
    ("Fine_Change_Moment2_2.fc_weight2", 2),
    ("Fine_Change_Moment2_3.fc_weight3", 4),
)

Array = npt.NDArray[np.float64]
State = Mapping[str, Array]


def golden_numbers(name: str) -> dict[str, npt.NDArray[Any]]:
    """All arrays of ``<name>_small.npz``."""
    with np.load(GOLDEN / f"{name}_small.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def released_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shape by key of a full-size released checkpoint, ``dynamic`` or ``spacenet7``."""
    lines = (GOLDEN / f"released_keys_{name}.txt").read_text(encoding="utf-8").splitlines()
    return {key: ast.literal_eval(shape) for key, shape in (line.split("\t") for line in lines)}


def random_released_state(
    num_dates: int, width: int, windows: tuple[int, int, int], equal_windows: bool = False
) -> dict[str, torch.Tensor]:
    """A state dict in the released format for any size, filled with seeded noise.

    Args:
        num_dates: T.
        width: D.
        windows: (B, H, W) that the CAM weights belong to.
        equal_windows: Give every window the same CAM weights.
    """
    generator = torch.Generator().manual_seed(17)
    sizes = {64: width, 32: width // 2, 128: 2 * width, 320: (num_dates - 1) * width}
    sizes |= {960: 3 * sizes[320], 1280: 4 * sizes[320], 160: sizes[320] // 2}
    B, H, W = windows
    state = {}
    for key, shape in released_shapes("dynamic").items():
        if "fc_weight" in key:
            k = {4: 2, 16: 4}[shape[1]]
            rows = B * (H // k) * (W // k)
            weight = torch.randn(1 if equal_windows else rows, *shape[1:], generator=generator)
            state[key] = weight.expand(rows, -1, -1).clone()
            continue
        if "fc" not in key:
            shape = tuple(sizes.get(size, size) for size in shape)
        if key.startswith("Coarse_Change_Moment2.conv2."):
            shape = (num_dates, *shape[1:])
        gain = 0.5 if len(shape) > 1 else 0.2
        state[key] = gain * torch.randn(shape, generator=generator) + float("norm" in key)
    return state


def network(images: Array, state: State, attention: str, cam: str) -> dict[str, Array]:
    """The whole network.

    Args:
        images: (B, T, C, H, W).
        state: Weights by released key.
        attention: "spatial" or "batch".
        cam: "per_window", or "shared" (the first window's weights for all).

    Returns:
        area (B, 2, H, W), moment (B, T, H, W), fine (B, 4, T, H, W).
    """
    B, T, _, H, W = images.shape
    features = [[_encoder(images[b, t], state) for t in range(T)] for b in range(B)]
    D = features[0][0].shape[0]
    tokens = np.zeros((B, H * W, (T - 1) * D))
    for b in range(B):
        steps = [np.abs(features[b][t + 1] - features[b][t]) for t in range(T - 1)]
        enhanced = _boundaries(np.concatenate(steps), state["BEConv.weight"])
        tokens[b] = enhanced.reshape(len(enhanced), H * W).T
    tokens = _transformer(tokens, state, attention)
    hidden = np.stack([_lstm(tokens[b].reshape(H * W, T - 1, D), state) for b in range(B)])
    hidden = hidden.transpose(0, 2, 3, 1).reshape(B, T - 1, D // 2, H, W)

    fine = np.zeros((B, 4, T, H, W))
    for b in range(B):
        coarse = (_stepwise(hidden[b], state), _segmentation(hidden[b], state))
        for m, (key, k) in enumerate(CAMS):
            per_image = (H // k) * (W // k)
            slot = 0 if cam == "shared" else b * per_image
            prob = _softmax(coarse[m // 2], axis=0)
            fine[b, m] = _softmax(_cam(prob, state[key][slot:], k, cam == "shared"), axis=0)
    moment = _softmax(fine.sum(axis=1), axis=1)
    pair = np.stack((moment[:, 0], moment[:, 1:].max(axis=1)), axis=1)
    return {"area": _softmax(pair, axis=1), "moment": moment, "fine": fine}


def focal_loss(prob: Array, label: npt.NDArray[Any], factors: Sequence[float]) -> float:
    """Loss of probabilities (B, K, H, W) for labels (B, H, W), pixel by pixel; −1 is left out."""
    B, K, H, W = prob.shape
    pixels = [
        (b, y, x) for b in range(B) for y in range(H) for x in range(W) if label[b, y, x] >= 0
    ]
    if not pixels:
        return 0.0
    count = [sum(label[pixel] == k for pixel in pixels) for k in range(K)]
    total = 0.0
    for b, y, x in pixels:
        for k in range(K):
            if label[b, y, x] == k:
                weight = factors[k] * (1 - count[k] / len(pixels))
                p = prob[b, k, y, x]
                total += weight * -np.log(p + 1e-10) * (1 - p) ** 2
    return float(total / (len(pixels) * K))


def _encoder(image: Array, state: State) -> Array:
    def unit(x: Array, conv: str, norm: str) -> Array:
        x = _convolution(x, state[f"Encoder.{conv}.weight"])
        weight, bias = state[f"Encoder.{norm}.weight"], state[f"Encoder.{norm}.bias"]
        return np.maximum(_group_norm(x, 2, weight, bias), 0)

    context = unit(unit(image, "conv1", "norm1"), "conv2", "norm2")
    residual = unit(image, "residual_conv1", "resiucal_norm1")
    residual = unit(residual, "residual_conv2", "resiucal_norm2")
    return unit(context + residual, "conv_final1", "norm_final1")


def _boundaries(difference: Array, stored: Array) -> Array:
    enhanced = difference.copy()
    for channel, nine in enumerate(stored[:, 0]):
        kernel = nine.copy()
        kernel[1, 1] = -(nine.sum() - nine[1, 1])  # minus the eight others
        enhanced[channel] += _convolution(difference[channel : channel + 1], kernel[None, None])[0]
    return enhanced


def _transformer(tokens: Array, state: State, attention: str) -> Array:
    B, N, _ = tokens.shape
    groups = [[(b, n) for n in range(N)] for b in range(B)]  # tokens that see each other
    if attention == "batch":
        groups = [[(b, n) for b in range(B)] for n in range(N)]
    attended = np.zeros_like(tokens)
    for group in groups:
        rows, columns = zip(*group, strict=True)
        attended[rows, columns] = _attention(tokens[rows, columns], state)
    x = _layer_norm(tokens + attended, state[f"{LAYER}norm1.weight"], state[f"{LAYER}norm1.bias"])
    inner = x @ state[f"{LAYER}linear1.weight"].T + state[f"{LAYER}linear1.bias"]
    outer = np.maximum(inner, 0) @ state[f"{LAYER}linear2.weight"].T
    x = x + outer + state[f"{LAYER}linear2.bias"]
    return _layer_norm(x, state[f"{LAYER}norm2.weight"], state[f"{LAYER}norm2.bias"])


def _attention(sequence: Array, state: State) -> Array:
    """Multi-head self-attention of (L, E) with the whole L×L matrix."""
    E = sequence.shape[1]
    weight = state[f"{LAYER}self_attn.in_proj_weight"]
    projected = sequence @ weight.T + state[f"{LAYER}self_attn.in_proj_bias"]
    query, key, value = projected[:, :E], projected[:, E : 2 * E], projected[:, 2 * E :]
    heads = []
    for h in range(HEADS):
        part = slice(h * E // HEADS, (h + 1) * E // HEADS)
        matrix = _softmax(query[:, part] @ key[:, part].T / np.sqrt(E // HEADS), axis=1)
        heads.append(matrix @ value[:, part])
    weight = state[f"{LAYER}self_attn.out_proj.weight"]
    return np.concatenate(heads, axis=1) @ weight.T + state[f"{LAYER}self_attn.out_proj.bias"]


def _lstm(steps: Array, state: State) -> Array:
    """Hidden states (N, S, D/2) of steps (N, S, D)."""
    w = {name: state[LSTM + name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    peephole = {name: state[f"{LSTM}weight_p{name}"] for name in "ifo"}
    size = w["weight_hh"].shape[1]
    h = c = np.zeros((len(steps), size))
    states = []
    for s in range(steps.shape[1]):
        gates = steps[:, s] @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
        i, f, g, o = (gates[:, n * size : (n + 1) * size] for n in range(4))
        i = _sigmoid(i + c @ peephole["i"].T)
        f = _sigmoid(f + c @ peephole["f"].T)
        c = f * c + i * np.tanh(g)
        o = _sigmoid(o + c @ peephole["o"].T)
        h = o * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1)


def _stepwise(hidden: Array, state: State) -> Array:
    """Logits (T, H, W) of hidden states (T−1, D/2, H, W)."""
    name = "Coarse_Change_Moment1."
    unchanged, changed = [], []
    for step in hidden:
        two = _convolution(step, state[name + "conv.weight"], state[name + "conv.bias"])
        two = _group_norm(two, 1, state[name + "norm.weight"], state[name + "norm.bias"])
        unchanged.append(two[0])
        changed.append(two[1])
    return np.stack([np.min(unchanged, axis=0), *changed])


def _segmentation(hidden: Array, state: State) -> Array:
    """Logits (T, H, W) of hidden states (T−1, D/2, H, W)."""
    name = "Coarse_Change_Moment2."
    x = np.concatenate(list(hidden))
    x = _convolution(x, state[name + "conv1.weight"], state[name + "conv1.bias"])
    x = _group_norm(x, 2, state[name + "norm1.weight"], state[name + "norm1.bias"])
    return _convolution(x, state[name + "conv2.weight"], state[name + "conv2.bias"])


def _cam(prob: Array, weights: Array, k: int, one_for_all: bool) -> Array:
    """Activation (T, H, W) of probabilities (T, H, W); weights (windows, k², 6)."""
    T, H, W = prob.shape
    small = np.zeros((T, H // k, W // k))
    for row in range(H // k):
        for col in range(W // k):
            weight = weights[0 if one_for_all else row * (W // k) + col, :, 0]
            window = prob[:, row * k : (row + 1) * k, col * k : (col + 1) * k].reshape(T, k * k)
            score = np.array(
                [sum(weight[j] * window[t, j] for j in range(k * k)) for t in range(T)]
            )
            low, high = score.min(), score.max()
            small[:, row, col] = 0 if high == low else (score - low) / (high - low)
    return _upsample(small, H, W)


def _upsample(small: Array, H: int, W: int) -> Array:
    """Bilinear with the corners of both grids on each other."""
    T, h, w = small.shape
    large = np.zeros((T, H, W))
    for y in range(H):
        for x in range(W):
            v, u = y * (h - 1) / (H - 1), x * (w - 1) / (W - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            v, u = v - top, u - left
            upper = (1 - u) * small[:, top, left] + u * small[:, top, right]
            lower = (1 - u) * small[:, bottom, left] + u * small[:, bottom, right]
            large[:, y, x] = (1 - v) * upper + v * lower
    return large


def _convolution(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Correlation of (C, H, W) with (O, C, k, k), zero padding, same size."""
    _, H, W = x.shape
    k = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((len(weight), H, W))
    for dy in range(k):
        for dx in range(k):
            shifted = padded[:, dy : dy + H, dx : dx + W]
            out += np.tensordot(weight[:, :, dy, dx], shifted, axes=1)
    return out if bias is None else out + bias[:, None, None]


def _group_norm(x: Array, groups: int, weight: Array, bias: Array) -> Array:
    parts = []
    for part in np.split(x, groups):
        parts.append((part - part.mean()) / np.sqrt(part.var() + 1e-5))
    return np.concatenate(parts) * weight[:, None, None] + bias[:, None, None]


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
