"""Facts of a data set: bands, dates, file names, codes. Of files only dataset.json is read.

The two data sets of the paper differ in these facts and in nothing else; every other
module of this package takes a :class:`DatasetSpec`. One's own data are a third, ``own_spec``, with
any bands and any number of dates; ``custom`` reads which from a data root.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from utils.files import read_json

__all__ = [
    "CUSTOM",
    "DATASETS",
    "DATASET_NAMES",
    "DYNAMIC",
    "IMAGE_FOLDERS",
    "SPACENET7",
    "SPLITS",
    "DatasetName",
    "DatasetSpec",
    "Split",
    "own_spec",
    "released_spec",
    "spec_by_name",
]

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class DatasetSpec:
    """Facts of one data set in its processed layout.

    Attributes:
        name: Name in folders: ``Images_<name>``, ``<name>_Fsplit`` and
            ``<name>_xys_<patch>_<stride>``.
        title: Name in sentences.
        num_dates: Images per scene, T; moment labels are 0…T−1.
        bands: Band names in stored order.
        visible_bands: Positions of red, green and blue in ``bands``.
        gsd: Ground sampling distance in metres, None where it is not known.
        image_folder: Folder of the images inside a scene.
        image_name: Regular expression of an image's whole file name (case ignored), the date in it
            as the group ``date``.
        image_format: File name of an image that is written, from ``date`` and ``scene``.
        image_example: A file name as users know it, for messages.
        area_file: Change area inside a scene, 0/1.
        moment_file: Change moment inside a scene, 0…T−1.
        alpha_band: Position of the band that is 0 where an image has no data, or None.
        scene_name: Regular expression of a usual scene folder name; others are only remarked on.
        scene_example: A folder name as users know it, for messages.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.
        pixel_scale: How stored values are taken where neither flags nor weights say, for the
            paper's data sets as the released program does: ``stored`` uses them as they are,
            ``auto`` brings integers to 0…1.
    """

    name: str
    title: str
    num_dates: int
    bands: tuple[str, ...]
    visible_bands: tuple[int, int, int]
    gsd: float | None
    image_folder: str
    image_name: str
    image_format: str
    image_example: str
    area_file: str
    moment_file: str
    alpha_band: int | None
    scene_name: str | None
    scene_example: str
    patch_size: int
    stride: int
    pixel_scale: Literal["auto", "stored"] = "auto"

    def __post_init__(self) -> None:
        if "date" not in re.compile(self.image_name).groupindex:
            raise ValueError(f"{self.name}: image_name has no group 'date', expected one")
        places = [*self.visible_bands, *([] if self.alpha_band is None else [self.alpha_band])]
        if not all(0 <= place < len(self.bands) for place in places):
            raise ValueError(
                f"{self.name}: found visible_bands {self.visible_bands} and alpha_band "
                f"{self.alpha_band}, expected positions among {len(self.bands)} bands"
            )

    @property
    def num_classes(self) -> int:
        """Classes of the change moment, 0 included: one per date."""
        return self.num_dates

    @property
    def images_root(self) -> str:
        """Folder of all scenes inside the data root."""
        return f"Images_{self.name}"

    @property
    def lists_folder(self) -> str:
        """Folder of the scene lists inside the data root."""
        return f"{self.name}_Fsplit"

    def image_file(self, date: datetime.date, scene: str) -> str:
        """File name of an image that is written."""
        return self.image_format.format(date=date, scene=scene)

    def facts(self, patch_size: int, pixel_scale: str = "auto") -> dict[str, Any]:
        """Facts that a weights file keeps of the data it was trained on, as plain values."""
        return {
            "name": self.name,
            "num_dates": self.num_dates,
            "bands": list(self.bands),
            "patch_size": patch_size,
            "pixel_scale": pixel_scale,
        }

    def provenance(self, data_root: Path) -> dict[str, Any]:
        """Origin of the data at hand, from ``dataset.json`` beside the splits.

        Returns:
            Its entries that are short facts (lists of scenes are left out); empty without the
            file, as for the authors' processed copies; what is wrong with it where it cannot be
            read.
        """
        path = data_root / self.images_root / "dataset.json"
        if not path.is_file():
            return {}
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            return {"dataset.json": f"cannot be read ({error})"}
        if not isinstance(content, dict):
            return {"dataset.json": "found no object in it"}
        short = (str, int, float, bool, dict)
        return {key: value for key, value in content.items() if isinstance(value, short)}

    def index_folder(self, patch_size: int, stride: int) -> str:
        """Folder of the patch index inside the data root."""
        return f"{self.name}_xys_{patch_size}_{stride}"

    def list_command(self, data_root: Path) -> str:
        """Command line that writes the scene lists of ``data_root``."""
        return f"python data_processing/{self.name}_Fsplit.py --data-root {_quoted(data_root)}"

    def index_command(self, data_root: Path, patch_size: int, stride: int) -> str:
        """Command line that writes the patch index of ``data_root``."""
        return (
            f"python data_processing/{self.name}_create_xys.py --data-root {_quoted(data_root)} "
            f"--patch-size {patch_size} --stride {stride}"
        )

    def commands(self, data_root: Path, patch_size: int, stride: int) -> str:
        """The two commands that make lists and index, a line each, indented."""
        index = self.index_command(data_root, patch_size, stride)
        return f"    {self.list_command(data_root)}\n    {index}"

    def sample_command(self, data_root: Path) -> str:
        """Command line that writes sample data of this layout into ``data_root``."""
        return (
            f"python data_processing/sample_data.py --data-root {_quoted(data_root)} "
            f"--dataset {self.name.lower()}"
        )

    def tree(self) -> str:
        """The processed layout as an indented folder tree, for messages."""
        area, moment = Path(self.area_file), Path(self.moment_file)
        return "\n".join(
            [
                f"    {self.images_root}/{{train,val,test}}/{self.scene_example}/",
                f"        {self.image_folder}/{self.image_example}   "
                f"{self.num_dates} rasters of {len(self.bands)} bands ({', '.join(self.bands)})",
                f"        {area.as_posix()}   0 unchanged, 1 changed",
                f"        {moment.as_posix()}   0 unchanged, k changed before date k "
                f"(0…{self.num_dates - 1})",
            ]
        )


DYNAMIC = DatasetSpec(
    name="Dynamic",
    title="DynamicEarthNet",
    num_dates=6,
    bands=("blue", "green", "red", "nir"),
    visible_bands=(2, 1, 0),
    gsd=3.0,
    image_folder="train_images",
    image_name=r"(?P<date>(19|20)\d{2}([-_. ]?)\d{2}(\3\d{2})?)(?!\d).*\.tiff?",
    image_format="{date}.tif",
    image_example="2018_01.tif",
    area_file="change/bi_change.tif",
    moment_file="change/multi_change.tif",
    alpha_band=None,
    scene_name=r"Scene\d+",
    scene_example="Scene01",
    patch_size=64,
    stride=64,
    pixel_scale="stored",  # its processed copies hold 0…1
)

SPACENET7 = DatasetSpec(
    name="SpaceNet7",
    title="SpaceNet7",
    num_dates=9,
    bands=("red", "green", "blue", "alpha"),
    visible_bands=(0, 1, 2),
    gsd=4.77,
    image_folder="images_masked",
    image_name=r"global_monthly_(?P<date>\d{4}[-_]\d{2})_mosaic_.+\.tiff?",
    image_format="global_monthly_{date:%Y_%m}_mosaic_{scene}.tif",
    image_example="global_monthly_2018_01_mosaic_L15-0331E-1257N_1327_3160_13.tif",
    area_file="change/bi_change.tif",
    moment_file="change/multi_change_last.tif",
    alpha_band=3,
    scene_name=r"L15-.+",
    scene_example="L15-0331E-1257N_1327_3160_13",
    patch_size=64,
    stride=63,
)

DATASETS: tuple[DatasetSpec, ...] = (DYNAMIC, SPACENET7)
DATASET_NAMES = tuple(spec.name.lower() for spec in DATASETS)  # as programs take them
CUSTOM = "custom"  # one's own data, see own_spec
CUSTOM_IMAGES = "images"
IMAGE_FOLDERS = frozenset({*(spec.image_folder for spec in DATASETS), CUSTOM_IMAGES})
if TYPE_CHECKING:
    DatasetName = str
else:
    DatasetName = Literal[(*DATASET_NAMES, CUSTOM)]  # what a setting of this type may say


def own_spec(
    bands: Sequence[str],
    num_dates: int,
    pixel_scale: Literal["auto", "stored"] = "auto",
    gsd: float | None = None,
) -> DatasetSpec:
    """Facts of the data set Custom: one's own scenes, all with the same bands and number of dates.

    Args:
        bands: Names in stored order; red, green and blue make the pictures, a band ``alpha`` is 0
            where there is no data.
        num_dates: T ≥ 2.
        pixel_scale: See ``DatasetSpec``.
        gsd: In metres.
    """
    names = tuple(bands)
    colors = ("red", "green", "blue")
    if all(color in names for color in colors):
        visible = [names.index(color) for color in colors]
    else:  # the first three, or those there are
        visible = [min(place, len(names) - 1) for place in range(len(colors))]
    return DatasetSpec(
        name="Custom",
        title="one's own data",
        num_dates=num_dates,
        bands=names,
        visible_bands=(visible[0], visible[1], visible[2]),
        gsd=gsd,
        image_folder=CUSTOM_IMAGES,
        image_name=DYNAMIC.image_name,
        image_format="{date}.tif",
        image_example="2018-01-05.tif",
        area_file=DYNAMIC.area_file,
        moment_file=DYNAMIC.moment_file,
        alpha_band=names.index("alpha") if "alpha" in names else None,
        scene_name=None,
        scene_example="Scene01",
        patch_size=64,
        stride=64,
        pixel_scale=pixel_scale,
    )


def released_spec(num_dates: int, num_bands: int) -> DatasetSpec | None:
    """The data set that weights in the authors' format are for, which do not say it themselves.

    Args:
        num_dates: Dates that the network takes.
        num_bands: Bands of a date.
    """
    fitting = (s for s in DATASETS if (s.num_dates, len(s.bands)) == (num_dates, num_bands))
    return next(fitting, None)


def spec_by_name(name: str) -> DatasetSpec:
    """The facts of a data set by its name.

    Args:
        name: Of one of ``DATASETS``, in any case.

    Raises:
        ValueError: When no data set has that name.
    """
    for spec in DATASETS:
        if spec.name.lower() == name.lower():
            return spec
    expected = ", ".join(DATASET_NAMES)
    raise ValueError(f"data set {name!r} is not known; expected one of: {expected}.")


def _quoted(path: Path) -> str:
    """A path as a shell takes it: in double quotes when it holds anything unusual."""
    text = str(path)
    usual = all(letter.isalnum() or letter in "/\\._-:~+" for letter in text)
    return text if usual else f'"{text}"'
