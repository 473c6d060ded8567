"""Dates of images from their file names.

Positions in a name are never relied on: a date is found by its form and its plausibility.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import rasterio

from data_processing.rasters.reading import quiet, reading
from utils.errors import DataError, UserError

__all__ = [
    "DATE_TAGS",
    "FIRST_YEAR",
    "LAST_YEAR",
    "UnknownDate",
    "by_date",
    "date_from_name",
    "dates_of",
    "short_names",
    "tagged_date",
    "whole_date",
]

FIRST_YEAR = 1980
LAST_YEAR = 2100

# Looked for at every position, so that an implausible number does not hide a date behind it.
_FULL = re.compile(r"(?<!\d)(\d{4})([-_. ]?)(\d{2})\2(\d{2})(?!\d)")
_MONTH = re.compile(r"(?<!\d)(\d{4})[-_. ]?(\d{2})(?!\d)")


class UnknownDate(datetime.date):
    """Stands where an image of a pair has no date: in its place in the order, shown by its name.

    Args:
        position: 0 for the image before, 1 for the one after.
        label: What is shown instead of a date.
    """

    label: str

    def __new__(cls, position: int, label: str) -> UnknownDate:
        """A date before all real ones, in the order of the positions."""
        stand_in = super().__new__(cls, 1, 1, 1 + position)
        stand_in.label = label
        return stand_in

    def isoformat(self) -> str:
        """The label."""
        return self.label

    def __str__(self) -> str:
        """The label."""
        return self.label


def date_from_name(name: str) -> datetime.date | None:
    """The first plausible date in a file name.

    Understood are YYYYMMDD, YYYY-MM-DD and YYYY_MM_DD, and without a day YYYYMM, YYYY-MM and
    YYYY_MM, which stand for the 1st of the month. Plausible are the years 1980…2100 and days
    that exist.

    Args:
        name: File name, with or without folders and suffix.

    Returns:
        The date, or None when the name holds none.
    """
    stem = re.split(r"[\\/]", name)[-1]
    for position in range(len(stem)):
        full = _FULL.match(stem, position)
        if full:
            date = _plausible(int(full[1]), int(full[3]), int(full[4]))
            if date:
                return date
        month = _MONTH.match(stem, position)
        if month:
            date = _plausible(int(month[1]), int(month[2]), 1)
            if date:
                return date
    return None


def _plausible(year: int, month: int, day: int) -> datetime.date | None:
    """The date of these numbers, or None where there is none in the accepted years."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


_DATE = re.compile(r"(\d{4})([-/]?)(\d{2})(?:\2(\d{2}))?(?:[T ].*)?")


def whole_date(text: str) -> datetime.date | None:
    """The date that a whole text is: YYYY-MM-DD, YYYY-MM, YYYYMMDD or YYYYMM, a time after it."""
    found = _DATE.fullmatch(text.strip())
    return (
        date_from_name("-".join(part for part in found.group(1, 3, 4) if part)) if found else None
    )


def short_names(files: Sequence[Path]) -> dict[Path, str]:
    """How messages name files: by their names, or with their folders where names are the same."""
    counts = Counter(file.name for file in files)
    return {file: file.name if counts[file.name] == 1 else str(file) for file in files}


def by_date(
    files: Sequence[Path],
    faults: list[str],
    otherwise: Callable[[Path, str], datetime.date | None] | None = None,
    places: str = "in the name",
) -> dict[datetime.date, Path]:
    """Files by the dates in their names, ascending; what has none, or one twice, is a fault.

    Args:
        files: Each once.
        faults: Gets what has no date, or one twice.
        otherwise: The date of a file (and what messages call it) whose name has none.
        places: Where a date is looked for, for messages.
    """
    dated: dict[datetime.date, Path] = {}
    names = short_names(files)
    for file in files:
        date = date_from_name(file.name)
        if date is None and otherwise is not None:
            date = otherwise(file, names[file])
        if date is None:
            faults.append(f"{names[file]}: found no date {places}, expected one as in 2020-01-15")
        else:
            _add(date, file, dated, names, faults)
    return dict(sorted(dated.items()))


def dates_of(
    files: Sequence[Path], given: str | None, faults: list[str], flag: str = "--image-dates"
) -> dict[datetime.date, Path]:
    """Files by date, ascending.

    Args:
        files: Sorted by name.
        given: Their dates in that order, separated by commas; from their names if None.
        faults: Gets what has no date, or one twice.
        flag: Where the dates are given, for messages.

    Raises:
        UserError: The given dates are none, are not as many, or contradict the names.
    """
    return by_date(files, faults) if given is None else _given_dates(files, given, faults, flag)


def _add(
    date: datetime.date,
    file: Path,
    dated: dict[datetime.date, Path],
    names: Mapping[Path, str],
    faults: list[str],
) -> None:
    if date in dated:
        faults.append(f"{names[file]}: found the date {date} twice, also in {names[dated[date]]}")
    else:
        dated[date] = file


def _month_alone(text: str, date: datetime.date) -> bool:
    """Whether a text that gives this date gives no day."""
    day = rf"{date:%Y}(?P<between>[-/_. ]?){date:%m}(?P=between){date:%d}(?!\d)"
    return date.day == 1 and re.search(day, text) is None


def _given_dates(
    files: Sequence[Path], given: str, faults: list[str], flag: str
) -> dict[datetime.date, Path]:
    """Files by given dates; a month alone agrees with any day of it, which is then kept."""
    words = given.split(",")
    dates = [whole_date(word) for word in words]
    if None in dates or len(dates) != len(files):
        raise UserError(
            f"{flag}: found {given!r} ({len(words)} dates) for {len(files)} images, "
            "expected a date for each, YYYY-MM-DD or YYYY-MM separated by commas, in the order "
            f"of the names: {', '.join(short_names(files).values())}."
        )
    dated: dict[datetime.date, Path] = {}
    names = short_names(files)
    contradictions = []
    for file, word, date in zip(files, words, dates, strict=True):
        assert date is not None
        named = date_from_name(file.name) or date
        if named != date and not (
            named.replace(day=1) == date.replace(day=1)
            and (_month_alone(file.name, named) or _month_alone(word, date))
        ):
            contradictions.append(f"  - {names[file]}: found {date} given, {named} in the name")
        _add(max(named, date), file, dated, names, faults)
    if contradictions:
        raise UserError(
            "\n".join(
                [f"{flag}: dates and names contradict each other.", *contradictions,
                 f"Dates belong to the images in the order of their names; leave {flag} out if "
                 "the names are right, else rename the files."]
            )
        )  # fmt: skip
    return dict(sorted(dated.items()))


DATE_TAGS = (
    "ACQUISITION_DATE", "ACQUISITIONDATE", "ACQUISITIONDATETIME", "DATE_ACQUIRED", "DATE",
    "TIFFTAG_DATETIME",
)  # fmt: skip


def tagged_date(path: Path) -> tuple[str, datetime.date] | None:
    """Tag and date of a file, None without one; of several the first of DATE_TAGS."""
    with contextlib.suppress(DataError), reading(str(path)), quiet(), rasterio.open(path) as raster:
        tags = {**raster.tags(ns="IMAGERY"), **raster.tags()}
        named = {key.upper(): text for key, text in tags.items()}
        for key in DATE_TAGS:
            date = whole_date(named.get(key, "").replace(":", "-", 2))
            if date is not None:
                return key, date
    return None
