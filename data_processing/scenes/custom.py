"""The data set Custom of a data root: any bands, any number of dates, one for all its scenes.

Its facts stand in Images_Custom/dataset.json, as ``prepare_custom.py`` and ``insert_changes.py``
write it; beside scenes from elsewhere these four entries will do::

    {"bands": ["blue", "green", "red", "nir", "swir1", "swir2"], "num_dates": 12,
     "pixel_scale": "auto", "gsd": 10}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_processing.scenes.spec import CUSTOM, DatasetSpec, own_spec, spec_by_name
from utils.errors import DataError, UserError
from utils.files import read_json

__all__ = ["GivenFacts", "custom_spec", "dataset_spec", "facts_of", "planned_spec"]

MOST_DATES = 255  # moments 0…254 in a byte, 255 is "unknown"
MOST_BANDS = 256
BAND_NAME = re.compile(r"\w[\w .+/-]{0,39}")
SCALES = ("auto", "stored")
FOLDER = own_spec(["red"], 2).images_root
EXAMPLE = (
    '{"bands": ["blue", "green", "red", "nir"], "num_dates": 12, "pixel_scale": "auto", "gsd": 10}'
)


@dataclass(frozen=True)
class GivenFacts:
    """Facts of a data set as far as they are known; None for what is not.

    Attributes:
        bands: Names in stored order.
        num_dates: T.
        pixel_scale: See ``DatasetSpec``.
        gsd: In metres.
    """

    bands: tuple[str, ...] | None = None
    num_dates: int | None = None
    pixel_scale: Literal["auto", "stored"] | None = None
    gsd: float | None = None


def dataset_spec(name: str, data_root: Path) -> DatasetSpec:
    """The facts of a data set by its name; those of Custom are its data root's.

    Raises:
        ValueError: When no data set has that name.
        DataError: As for :func:`custom_spec`.
    """
    return custom_spec(data_root) if name.lower() == CUSTOM else spec_by_name(name)


def custom_spec(data_root: Path) -> DatasetSpec:
    """The facts of the data set Custom in a data root.

    Raises:
        DataError: There is none, its dataset.json is missing or damaged, or scenes in it have
            other numbers of dates; with all such faults.
    """
    spec = _read_spec(data_root)
    if spec is None:
        folder = data_root / FOLDER
        root = "is there, without that folder" if data_root.is_dir() else "does not exist"
        missing = "has no dataset.json" if folder.is_dir() else f"is missing (the data root {root})"
        raise DataError(
            str(data_root),
            [f"{FOLDER}/ {missing}, expected dataset.json with the facts of your data, and "
             "{train,val,test}/<scene>/ beside it"],
            "prepare_custom.py --dataset custom and insert_changes.py --dataset custom make both "
            "from your own images (docs/data.md); or name another folder with --data-root.\n"
            f"Beside scenes from elsewhere write dataset.json yourself:\n    {EXAMPLE}",
        )  # fmt: skip
    return spec


def facts_of(spec: DatasetSpec) -> dict[str, Any]:
    """The entries of dataset.json that ``custom_spec`` reads."""
    return {
        "bands": list(spec.bands),
        "num_dates": spec.num_dates,
        "pixel_scale": spec.pixel_scale,
        "gsd": spec.gsd,
    }


def planned_spec(
    data_root: Path,
    asked: GivenFacts,
    images: GivenFacts,
    scene: tuple[str, str] | None,
) -> DatasetSpec:
    """The facts of scenes that shall be made: as asked for, else of the scenes there, else seen.

    Args:
        data_root: Where they will lie.
        asked: What flags say.
        images: What the images say.
        scene: Split and name of the only one that is made, so that the others stay; None = all.

    Raises:
        UserError: Facts are missing, or contradict those of the scenes that are there.
        DataError: What lies there is damaged.
    """
    before = None if scene is None else _read_spec(data_root)
    counts = _dates_of_scenes(data_root) if before else {}
    counts.pop("/".join(scene or ()), None)
    if before is not None and counts:
        listed = ", ".join(f"{scene} {count}" for scene, count in counts.items())
        faults = [
            f"{flag}: found {_shown(given)}, expected {_shown(agreed)} as all scenes of "
            f"{data_root / FOLDER} ({listed} dates)"
            for flag, given, agreed in (
                ("--band-names", asked.bands, before.bands),
                ("--num-dates", asked.num_dates, before.num_dates),
                ("--pixel-scale", asked.pixel_scale, before.pixel_scale),
            )
            if given is not None and given != agreed
        ]
        if faults:
            more = "Leave it out, or give another --data-root: a data set has one of each."
            raise UserError("\n".join([*faults, more]))
        return before
    usual = before.bands if before else None
    bands, num_dates = asked.bands or images.bands or usual, asked.num_dates or images.num_dates
    if bands is None:
        raise UserError(
            "--band-names: found none, and the images do not name their bands; expected a name "
            "for each band that is taken, in order, such as blue,green,red,nir."
        )
    if num_dates is None:
        raise UserError("--num-dates: found none, expected the dates of each scene, 2 or more.")
    facts = {"bands": list(bands), "num_dates": num_dates}
    faults = [f"{key}: {fault}" for key, fault in _faults(facts).items()]
    if faults:
        raise UserError("\n".join(f"--dataset custom, {fault}." for fault in faults))
    scale = asked.pixel_scale or (before.pixel_scale if before else "auto")
    return own_spec(bands, num_dates, scale, images.gsd)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _content(data_root: Path) -> dict[str, Any] | None:
    """dataset.json of a data root; None where there is none.

    Raises:
        DataError: It cannot be read.
    """
    path = data_root / FOLDER / "dataset.json"
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, [f"cannot be read ({error})"]) from error
    if not isinstance(content, dict):
        raise _damaged(path, [f"found a {type(content).__name__}, expected an object"])
    return content


def _damaged(path: Path, faults: list[str]) -> DataError:
    return DataError(str(path), faults, f"Mend it; its facts look like\n    {EXAMPLE}")


def _read_spec(data_root: Path) -> DatasetSpec | None:
    content = _content(data_root)
    if content is None:
        return None
    path = data_root / FOLDER / "dataset.json"
    faults = [f"{key}: {fault}" for key, fault in _faults(content).items()]
    if not faults:
        T = content["num_dates"]
        odd = {s: n for s, n in _dates_of_scenes(data_root).items() if n != T}
        faults = [f"{s}: found {n} dates, expected {T} as num_dates says" for s, n in odd.items()]
    if faults:
        raise _damaged(path, faults)
    gsd = content.get("gsd")
    return own_spec(
        content["bands"],
        content["num_dates"],
        content.get("pixel_scale", "auto"),
        None if gsd is None else float(gsd),
    )


def _dates_of_scenes(data_root: Path) -> dict[str, int]:
    """Number of dates by split/name, of the scenes that dataset.json lists with dates."""
    scenes = (_content(data_root) or {}).get("scenes", [])
    return {
        f"{scene.get('split')}/{scene.get('name')}": len(scene["dates"])
        for scene in (scenes if isinstance(scenes, list) else [])
        if isinstance(scene, dict) and isinstance(scene.get("dates"), list)
    }


def _faults(facts: Mapping[str, Any]) -> dict[str, str]:
    """Faults of facts, by their names."""
    faults = {}
    bands, T = facts.get("bands"), facts.get("num_dates")
    plain = isinstance(bands, list) and all(
        isinstance(band, str) and BAND_NAME.fullmatch(band) for band in bands
    )
    if not plain or not 0 < len(bands or []) <= MOST_BANDS:
        faults["bands"] = (
            f"found {bands!r:.80}, expected a list of names, 1 to {MOST_BANDS} of them, each of "
            "letters, digits, spaces and _ . + / -"
        )
    elif len({band.lower() for band in bands or []}) < len(bands or []):
        faults["bands"] = f"found {', '.join(bands or [])}, expected each name once"
    if not isinstance(T, int) or isinstance(T, bool) or not 2 <= T <= MOST_DATES:
        faults["num_dates"] = f"found {T!r:.40}, expected a whole number from 2 to {MOST_DATES}"
    scale, gsd = facts.get("pixel_scale", "auto"), facts.get("gsd")
    if scale not in SCALES:
        faults["pixel_scale"] = f"found {scale!r:.40}, expected {' or '.join(SCALES)}"
    number = isinstance(gsd, int | float) and not isinstance(gsd, bool)
    if gsd is not None and not (number and 0 < gsd < 1e6):
        faults["gsd"] = f"found {gsd!r:.40}, expected metres or null"
    return faults
