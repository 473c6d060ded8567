"""Facts of the data sets of image pairs: folders, labels, and how CTMA is trained on each.

Facts only; no file is read here. Learning rates, epochs and fusion weights are those of the
released program.

Paper: Wang et al., arXiv 2408.08078, experiments on SVCD, LEVIR-CD and WHU-CD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from data_processing.rasters.values import LabelRule

__all__ = [
    "FOLDER",
    "LEVIR",
    "PAIR_BANDS",
    "PAIR_NAMES",
    "SVCD",
    "WHU",
    "PairName",
    "PairSpec",
    "pair_spec_by_name",
]

PairName = Literal["svcd", "levir", "whu", "folder"]
PAIR_NAMES: tuple[PairName, ...] = get_args(PairName)
PAIR_BANDS = ("red", "green", "blue")


@dataclass(frozen=True)
class PairSpec:
    """Facts of one data set of image pairs.

    Attributes:
        name: As the programs' ``--dataset`` takes it.
        title: Name in sentences.
        example: A file name, for messages.
        label_rule: How its labels are read.
        gsd: Ground sampling distance in metres, None where it is not one.
        citation: Where it comes from.
        lr: Learning rate of Adam in the released program.
        lr_step: Epochs after which it is lowered, again and again.
        lr_factor: By how much.
        epochs: Passes over the training pairs.
        repeats: How often each pair is served within one of them.
        fusion_weights: Of the two decoders.
        inner: Folder inside the data root that holds the splits, where the data set has one.
        label_folder: Folder of the labels beside ``A`` and ``B``.
    """

    name: PairName
    title: str
    example: str
    label_rule: LabelRule
    gsd: float | None
    citation: str
    lr: float
    lr_step: int
    lr_factor: float
    epochs: int
    repeats: int
    fusion_weights: tuple[float, float]
    inner: str = ""
    label_folder: str = "label"

    def lr_milestones(self, epochs: int) -> tuple[int, ...]:
        """Epochs of so many, counted from 0, at which the learning rate is lowered."""
        return tuple(range(self.lr_step, epochs, self.lr_step))

    def facts(self, pixel_scale: str) -> dict[str, Any]:
        """Facts of the data for a weights file, as plain values."""
        return {
            "name": self.name,
            "num_dates": 2,
            "bands": list(PAIR_BANDS),
            "pixel_scale": pixel_scale,
        }

    def tree(self) -> str:
        """The layout as an indented folder tree, for messages."""
        top = f"{self.inner}/" if self.inner else ""
        return "\n".join(
            [
                f"    {top}{{train,val,test}}/A/{self.example}      images before",
                f"    {top}{{train,val,test}}/B/{self.example}      images after",
                f"    {top}{{train,val,test}}/{self.label_folder}/{self.example}      labels",
                f"or  A/, B/, {self.label_folder}/ and list/{{train,val,test}}.txt, a name a line",
            ]
        )


SVCD = PairSpec(
    name="svcd",
    title="SVCD (season-varying pairs, real part)",
    inner="Real/subset",
    label_folder="OUT",
    example="00000.jpg",
    label_rule="above_127",
    gsd=None,  # 0.03 to 1 m
    citation="Lebedev et al., ISPRS Archives XLII-2 (2018) 565-571",
    lr=4e-4,
    lr_step=10,
    lr_factor=0.1,
    epochs=30,
    repeats=7,
    fusion_weights=(0.5, 0.5),
)

LEVIR = PairSpec(
    name="levir",
    title="LEVIR-CD",
    example="train_1/train_1_1.png",
    label_rule="nonzero",
    gsd=0.5,
    citation="Chen and Shi, Remote Sensing 12 (2020) 1662",
    lr=2e-3,
    lr_step=30,
    lr_factor=0.2,
    epochs=40,
    repeats=2,
    fusion_weights=(0.67, 0.33),
)

WHU = PairSpec(
    name="whu",
    title="WHU-CD",
    example="1.png",
    label_rule="nonzero",
    gsd=0.2,
    citation="Ji, Wei and Lu, IEEE TGRS 57 (2019) 574-586",
    lr=4e-4,
    lr_step=15,
    lr_factor=0.2,
    epochs=30,
    repeats=7,
    fusion_weights=(0.7, 0.3),
)

FOLDER = PairSpec(
    name="folder",
    title="a folder of pairs",
    example="name.png",
    label_rule="exact",
    gsd=None,
    citation="one's own",
    lr=4e-4,
    lr_step=15,
    lr_factor=0.2,
    epochs=30,
    repeats=1,
    fusion_weights=(0.5, 0.5),
)


def pair_spec_by_name(name: str) -> PairSpec:
    """The facts of a data set of pairs.

    Args:
        name: One of ``PAIR_NAMES``.

    Raises:
        ValueError: When no data set has that name.
    """
    for spec in (SVCD, LEVIR, WHU, FOLDER):
        if spec.name == name:
            return spec
    raise ValueError(f"data set {name!r} is not known; expected one of: {', '.join(PAIR_NAMES)}.")
