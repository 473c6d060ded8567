"""Reading weights files of strangers: what a file is, how large what is in it is, plain content.

A weights file is data. It is read with ``weights_only=True``, so that code in it never runs; how
much memory it asks for is known before it is read; and only plain values and dense tensors of
numbers come out. What they mean is ``models.weights.checkpoint``'s.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.errors import CheckpointError
from utils.files import is_web_page
from utils.progress import say

__all__ = [
    "MOST_BYTES",
    "file_head",
    "is_plain",
    "read_state_file",
    "tensors_of",
    "torch_file_starts",
]

MOST_BYTES = 2 << 30  # of a weights file, and of its tensors; ours with optimiser: 0.4 GiB
MOST_VALUES = 1 << 17  # in dictionaries and lists of a file, each as often as it is held
MOST_DEPTH = 32
LARGEST_NUMBER = 1e12  # of the settings of a network or a training
LONGEST_TEXT = 10_000
LONGEST_NAME = 200

TORCH_STARTS = (b"PK\x03\x04", b"\x80")  # zip archive, and the older plain pickle
LFS_START = b"version https://git-lfs.github.com/spec/"

# a score among the weights, as the authors' CTMA program stores it, is a number and no code
NUMPY_SCALARS: list[Any] = [
    (np._core.multiarray.scalar, f"{module}.multiarray.scalar")  # type: ignore[attr-defined]
    for module in ("numpy.core", "numpy._core")
]
NUMPY_SCALARS += [np.dtype, *(type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8"))]

# where programs keep the weights in a larger file, the plain ones before running averages
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "ema",
            "state_dict_ema", "model_ema", "params_ema", "module", "shadow")  # fmt: skip
# what wrappers of a network put before the names of its parameters
PREFIX = re.compile(r"^(?:(?:module|model|net|network|_orig_mod)\.)+|(?<=\.)_orig_mod\.")


def torch_file_starts(head: bytes) -> bool:
    """Whether a file that begins like this may be one of torch.save."""
    return head.startswith(TORCH_STARTS)


def file_head(path: Path, kind: str, source: str) -> bytes:
    """The first bytes of a weights file, once it is sure that there is a file of a usual size.

    Args:
        path: The file.
        kind: What it should be, e.g. "a weights file (.pth)".
        source: Where such files come from, a sentence.

    Raises:
        CheckpointError: There is none, it is empty, larger than any of ours, a web page or the
            pointer that Git LFS leaves in place of a file.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: found a folder, expected {kind} in it.")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected {kind}. {source}")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise CheckpointError(
            f"{path}: found {size:,} bytes, expected {kind} of at most {MOST_BYTES:,}; it belongs "
            "to another network, or is damaged."
        )
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise CheckpointError(f"{path}: the file is empty, expected {kind}; download it again.")
    if is_web_page(head):
        raise CheckpointError(
            f"{path}: found a web page (HTML), expected {kind}; the download saved a login or "
            "error page. Open the address in a browser, sign in, and save the file itself."
        )
    if head.startswith(LFS_START):
        raise CheckpointError(
            f"{path}: found the pointer that Git LFS keeps in place of a file ({size} bytes), "
            f"expected {kind}; fetch the file itself: git lfs install, then git lfs pull."
        )
    return head


def read_state_file(path: Path) -> dict[str, Any]:
    """Read a torch file as a dictionary of plain values and tensors; no code in it is run.

    Raises:
        CheckpointError: Says what the file is instead, and what to do.
    """
    path = Path(path)
    head = file_head(
        path, "a weights file (.pth)",
        "best_model/README.md says where weights come from; Train_*.py writes last.pth and "
        "best.pth.",
    )  # fmt: skip
    _refuse_other_files(path, head)
    if head.startswith(b"PK"):  # the older format holds its tensors as they are
        _refuse_what_unpacks_large(path)
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: found a pickle that holds more than tensors and plain values, expected a "
            "plain state dict; it was not opened, since loading it could run code. If you trust "
            f"its source, rewrite it there with torch.save(model.state_dict(), ...). ({reason})"
        ) from error
    except Exception as error:  # arbitrary bytes make the unpickler fail in any way
        raise _damaged(path, error) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: found a {type(content).__name__}, expected a dictionary of tensors; save "
            "the network's state_dict()."
        )
    _refuse_what_is_not_plain(path, content)
    return dict(content)


def tensors_of(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The parameters in a dictionary, by their plain names; what was taken off is said.

    Args:
        path: The file, for messages.
        content: A state dict; or a dictionary that holds one under a usual name, at any depth. Its
            names may begin with what DataParallel, torch.compile or a training frame put there.

    Raises:
        CheckpointError: Two parameters have the same plain name.
    """
    inner, taken = content, []
    while held := [key for key in WRAPPERS if isinstance(inner.get(key), Mapping)]:
        others = f" (not {', '.join(map(repr, held[1:]))})" if held[1:] else ""
        taken.append(f"{held[0]!r}{others}")
        inner = inner[held[0]]
    state: dict[str, Tensor] = {}
    prefixes: set[str] = set()
    for key, value in inner.items():
        if not isinstance(value, Tensor) or not isinstance(key, str):
            continue
        name = PREFIX.sub("", key)
        prefixes.update(match.group() for match in PREFIX.finditer(key))
        if name in state:
            raise CheckpointError(
                f"{path}: found two parameters {name[:LONGEST_NAME]!r} (one of them "
                f"{key[:LONGEST_NAME]!r}), expected one; the file holds two networks. Save the "
                "state_dict() of the one to use."
            )
        state[name] = value
    if taken or prefixes:
        where = f"under {' → '.join(taken)}" if taken else ""
        names = f"{', '.join(map(repr, sorted(prefixes)))} taken off their names"
        said = ", ".join(filter(None, (where, names if prefixes else "")))
        say(f"{path}: {len(state)} tensors, {said}")
    return state


def is_plain(value: object, depth: int = MOST_DEPTH) -> bool:
    """Whether a value is plain and of usual size: text, number, None, or a list or dict of such."""
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, str):
        return len(value) <= LONGEST_TEXT
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) <= LARGEST_NUMBER
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        keys = all(isinstance(key, str) and len(key) <= LONGEST_TEXT for key in value)
        return keys and all(is_plain(part, depth - 1) for part in value.values())
    return isinstance(value, list | tuple) and all(is_plain(part, depth - 1) for part in value)


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: the file is damaged or cut short ({path.stat().st_size:,} bytes), expected "
        "a complete torch file; download or copy it again and compare its SHA-256. "
        f"({type(error).__name__})"
    )


def _refuse_other_files(path: Path, head: bytes) -> None:
    if torch_file_starts(head):
        return
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        raise CheckpointError(
            f"{path}: found a safetensors file, expected a torch file (.pth); rewrite it with "
            "torch.save(safetensors.torch.load_file(...), ...)."
        )
    kind = "text" if head.isascii() else "unknown bytes"
    raise CheckpointError(
        f"{path}: found {kind} (first bytes {head[:8]!r}), expected a torch file (.pth); "
        "this is no checkpoint."
    )


def _refuse_what_unpacks_large(path: Path) -> None:
    """Refuse a zip archive whose content is larger than itself: torch.save compresses nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path}: found an archive of {path.stat().st_size:,} bytes that unpacks to "
            f"{unpacked:,}, expected a file as torch.save writes it, which compresses nothing; it "
            "was not opened. Write it anew with torch.save."
        )


def _refuse_what_is_not_plain(path: Path, content: Mapping[Any, Any]) -> None:
    """Refuse tensors that are no dense numbers, or that would fill the memory when computed with.

    A tensor may be a view of one number repeated a billion times, which takes no room in a file.
    """
    total = 0
    for name, tensor in _tensors(path, content):
        kind = ""
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "a sparse, quantised or empty tensor"
        elif tensor.is_complex():
            kind = f"complex numbers ({tensor.dtype})"
        if kind:
            raise CheckpointError(
                f"{path}: {name}: found {kind}, expected a plain tensor of real numbers; these "
                "weights belong to another network."
            )
        total += tensor.numel() * tensor.element_size()
    if total > MOST_BYTES:
        raise CheckpointError(
            f"{path}: found tensors of {total:,} bytes together, expected at most {MOST_BYTES:,}; "
            "it belongs to another network, or was made to fill the memory."
        )


def _tensors(path: Path, content: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor anywhere in a file, with the name of what holds it."""
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    count = 0
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping | list | tuple | set):
            count += len(value)
            if count > MOST_VALUES or depth == MOST_DEPTH:
                raise CheckpointError(
                    f"{path}: found more than {MOST_VALUES:,} values, or nested deeper than "
                    f"{MOST_DEPTH} levels, expected a dictionary of tensors; it was made to fill "
                    "the memory."
                )
            parts = value.items() if isinstance(value, Mapping) else ((name, v) for v in value)
            waiting += [(_shown(key, name), part, depth + 1) for key, part in parts]


def _shown(key: object, holder: str) -> str:
    """A key as messages name it; of others than text, that of what holds it."""
    return key[:LONGEST_NAME] if isinstance(key, str) else holder
