"""Finding the pairs of a split: which image before, image after and label belong together.

Three files belong together when their names, without suffix, are the same below ``A``, ``B`` and
the label folder. What the files hold is looked at in ``pair_check``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_processing.pairs.spec import PairSpec
from data_processing.scenes.spec import SPLITS, Split
from utils.errors import DataError

__all__ = ["RASTERS", "PairFiles", "find_pairs"]

RASTERS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
FIRST, LAST = "A", "B"


class PairFiles(NamedTuple):
    """The three files of a pair.

    Attributes:
        name: What results are called: the label's file name without suffix, with the folders
            above it where that alone is not unique.
        first, last: Images before and after.
        label: Change label.
    """

    name: str
    first: Path
    last: Path
    label: Path


def find_pairs(
    data_root: Path, spec: PairSpec, split: Split, list_file: Path | None = None
) -> list[PairFiles]:
    """The pairs of a split, sorted by name; nothing is opened.

    Args:
        data_root: Folder of the data set, see ``PairSpec.tree``.
        spec: Facts of the data set.
        split: train, val or test.
        list_file: Text file with a name a line: only these pairs, in its order. Where the data
            root holds A/, B/ and labels without folders of splits, ``list/<split>.txt`` is taken.

    Raises:
        DataError: Folders, partners or listed names are missing; all of them are told.
    """
    data_root = Path(data_root)
    folder, listed = _folder_of_split(data_root, spec, split)
    list_file = list_file or listed
    parts = [folder / FIRST, folder / LAST, folder / spec.label_folder]
    missing = [f"{part.name}/: the folder is missing" for part in parts if not part.is_dir()]
    if missing:
        raise DataError(str(folder), missing, f"Expected:\n{spec.tree()}")
    faults: list[str] = []
    files_by_part = [_by_stem(part, faults) for part in parts]
    stems = sorted(set().union(*files_by_part))
    if list_file is not None:
        stems = _listed_stems(list_file, faults)
    for stem in stems:
        lacking = [
            part.name for part, files in zip(parts, files_by_part, strict=True) if stem not in files
        ]
        if lacking:
            faults.append(
                f"{stem}: missing in {' and '.join(lacking)}, expected in all of "
                f"{', '.join(part.name for part in parts)}"
            )
    if not stems and not faults:
        faults.append(f"found no images ({', '.join(sorted(RASTERS))}), expected at least a pair")
    if faults:
        raise DataError(
            str(folder), faults,
            f"Each pair has three files of the same name. Expected:\n{spec.tree()}",
        )  # fmt: skip
    return [
        PairFiles(name, *(files[stem] for files in files_by_part))
        for name, stem in zip(_names(stems), stems, strict=True)
    ]


def _folder_of_split(data_root: Path, spec: PairSpec, split: Split) -> tuple[Path, Path | None]:
    """Folder that holds A, B and labels of a split, and the list file where that decides.

    Raises:
        DataError: There is no such folder.
    """
    if not data_root.is_dir():
        raise DataError(
            str(data_root), ["the data root is missing"],
            f"Name the folder of {spec.title} by --data-root. Expected in it:\n{spec.tree()}",
        )  # fmt: skip
    tops = [data_root / spec.inner, data_root] if spec.inner else [data_root]
    for top in tops:
        if (top / split).is_dir():
            return top / split, None
    for top in tops:
        if (top / FIRST).is_dir() and (top / "list" / f"{split}.txt").is_file():
            return top, top / "list" / f"{split}.txt"
    splits = [name for name in SPLITS if any((top / name).is_dir() for top in tops)]
    shown = ", ".join(splits) or ", ".join(sorted(p.name for p in data_root.iterdir())[:6])
    raise DataError(
        str(data_root), [f"{split}: the split's folder is missing; found {shown or 'nothing'}"],
        f"Expected:\n{spec.tree()}",
    )  # fmt: skip


def _by_stem(folder: Path, faults: list[str]) -> dict[str, Path]:
    """Images below a folder by their relative path without suffix."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.suffix.lower() not in RASTERS or not path.is_file():
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            faults.append(
                f"{folder.name}/{stem}: found {files[stem].name} and {path.name}, expected one file"
            )
        files[stem] = path
    return files


def _listed_stems(path: Path, faults: list[str]) -> list[str]:
    """Names of a list file without suffix, in its order."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            str(path), [f"the list cannot be read ({type(error).__name__})"],
            "Expected a text file with a name a line.",
        ) from error  # fmt: skip
    names = [line.strip().replace("\\", "/") for line in lines if line.strip()]
    stems = [
        name.rpartition(".")[0] if Path(name).suffix.lower() in RASTERS else name for name in names
    ]
    faults += [f"{path.name}: {stem} stands there {n} times, expected once"
               for stem, n in Counter(stems).items() if n > 1]  # fmt: skip
    if not stems:
        faults.append(f"{path.name}: found no name, expected one a line")
    return stems


def _names(stems: Sequence[str]) -> list[str]:
    """File names alone where they tell pairs apart, else with their folders."""
    short = [Path(stem).name for stem in stems]
    return short if len(set(short)) == len(short) else list(stems)
