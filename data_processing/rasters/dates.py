"""Dates of files: given, from their names, or from their tags; and which files go together.

What was taken for which file, and from where, is always said: a wrong date gives a plausible map.
"""

from __future__ import annotations

import contextlib
import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from data_processing.rasters.date_patterns import meets, read_name, shown, span
from data_processing.rasters.name_dates import dates_of_names, whole_date
from data_processing.rasters.reading import IMAGES, open_raster, reading
from data_processing.rasters.sources import Raster
from utils.errors import DataError, UserError

__all__ = [
    "UnknownDate",
    "dates_of",
    "has_date",
    "partners",
    "short_names",
    "tagged_date",
]

AnyRaster = TypeVar("AnyRaster", bound=Raster)

# When an image was taken, as its file may say; the first one that a file has counts.
ACQUISITION_TAGS = (
    "ACQUISITION_DATE", "ACQUISITIONDATE", "ACQUISITIONDATETIME", "DATE_ACQUIRED", "SENSING_TIME",
    "DATATAKE_1_DATATAKE_SENSING_START", "PRODUCT_START_TIME", "RANGEBEGINNINGDATE",
)  # fmt: skip
OTHER_TAG = "DATE"  # of anything
WRITING_TAG = "TIFFTAG_DATETIME"  # when the file was written
TIME_ZONES = datetime.timedelta(1)  # that a name's day and a tag's may lie apart


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


def short_names(files: Sequence[AnyRaster]) -> dict[AnyRaster, str]:
    """Names of files for messages: with their folders where names are the same.

    Signs that would break a line or steer a terminal are written as escapes.
    """
    counts = Counter(file.name for file in files)
    names = {file: file.name if counts[file.name] == 1 else str(file) for file in files}
    return {
        file: "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
        for file, name in names.items()
    }


def dates_of(
    files: Sequence[AnyRaster],
    given: str | None,
    faults: list[str],
    remarks: list[str],
    *,
    flag: str = "--dates",
    tags: bool = True,
    title: str = "dates",
) -> dict[datetime.date, AnyRaster]:
    """Files by date, ascending; a month or year alone is a CoarseDate.

    Args:
        files: Each once.
        given: Their dates in that order, separated by commas; from names or tags if None.
        faults: Gets what has no date, or one twice.
        remarks: Gets the date of every file and where it comes from.
        flag: Where dates are given, for messages.
        tags: Whether the files' tags count, too.
        title: What the files' dates are called.

    Raises:
        UserError: The given dates are none, are not as many, or contradict the names.
    """
    names = short_names(files)
    if given is not None:
        sources = {flag: _given_dates(names, given, flag, remarks)}
    else:
        sources = _own_dates(names, flag, tags, faults, remarks)
    pairs = sorted(
        (date, names[file], file, source)
        for source in sources
        for file, date in sources[source].items()
    )
    for (date, name, *_), (later, other, *_) in pairwise(pairs):
        if meets(date, later):
            text = f"{shown(later)} twice" if date == later else f"{shown(later)} in {shown(date)}"
            faults.append(f"{other}: found the date {text}, also in {name}")
    if pairs:
        used = [source for source, dates in sources.items() if dates]
        lines = [
            f"  {name}: {shown(date)}{f', from {source}' if len(used) > 1 else ''}"
            for date, name, _, source in pairs
        ]
        remarks.append("\n".join([f"{title} from {', '.join(used)}:", *lines]))
    return {date: file for date, _, file, _ in pairs}


def has_date(files: Sequence[Raster]) -> bool:
    """Whether any of the files may have a date of its own; when it was written is none."""
    readings = [read_name(file.name) for file in files]
    tags = [tagged_date(file) for file in files]
    return any(reading.dates or reading.faults for reading in readings) or any(
        tag is not None and tag[0] != WRITING_TAG for tag in tags
    )


def partners(
    dates: Iterable[datetime.date], dated: Mapping[datetime.date, AnyRaster], faults: list[str]
) -> dict[datetime.date, AnyRaster]:
    """The file of each date: of the same day, or of a month and one of its days.

    Args:
        dates: Of a series.
        dated: Other files by date.
        faults: Gets dates with several such files, and files with several such dates.

    Returns:
        By the dates of the series that have one.
    """
    files: dict[datetime.date, AnyRaster] = {}
    users: dict[AnyRaster, datetime.date] = {}
    for date in dates:
        candidates = {d: file for d, file in dated.items() if meets(date, d)}
        if len(candidates) > 1:
            each = ", ".join(f"{file.name} ({shown(d)})" for d, file in candidates.items())
            faults.append(f"{shown(date)}: found {each}, expected one file")
        for d, file in candidates.items():
            if file in users:
                fault = f"{file.name}: found {shown(d)}, which stands for {shown(users[file])} and "
                faults.append(f"{fault}{shown(date)}, expected a day")
            files[date] = file
            users[file] = date
    return files


def tagged_date(path: Raster) -> tuple[str, datetime.date] | None:
    """Tag and date of a file, None without one; the tag of acquisition before that of writing."""
    with contextlib.suppress(DataError), reading(str(path)), open_raster(path, IMAGES) as raster:
        tags = {**raster.tags(ns="IMAGERY"), **raster.tags()}
        texts = {key.upper(): text for key, text in tags.items()}
        for key in (*ACQUISITION_TAGS, OTHER_TAG, WRITING_TAG):
            date = whole_date(texts.get(key, "").replace(":", "-", 2))
            if date is not None:
                return key, date
    return None


def _finer(one: datetime.date, other: datetime.date) -> datetime.date:
    return min(one, other, key=lambda date: span(date)[1] - span(date)[0])


def _own_dates(
    names: Mapping[AnyRaster, str], flag: str, tags: bool, faults: list[str], remarks: list[str]
) -> dict[str, dict[AnyRaster, datetime.date]]:
    """Dates of files by where they come from: names first, then tags."""
    named = dates_of_names([file.name for file in names], list(names.values()))
    faults += named.faults
    if named.faults:
        return {}
    by_name = f"names ({', '.join(named.forms)})"
    sources: dict[str, dict[AnyRaster, datetime.date]] = {by_name: {}}
    for (file, name), date in zip(names.items(), named.dates, strict=True):
        tag, tagged = (tagged_date(file) if tags else None) or ("", None)
        if date is None and tagged is None:
            places = f" nor in a tag {', '.join((*ACQUISITION_TAGS, OTHER_TAG))}" if tags else ""
            faults.append(f"{name}: found no date in the name{places}, expected one as 2020-01-15")
        elif date is None and tagged is not None:
            sources.setdefault(f"tag {tag}", {})[file] = tagged
        elif date is not None:
            sources[by_name][file] = date
            if tagged is not None and tag in ACQUISITION_TAGS and _apart(date, tagged):
                fault = f"{name}: found {shown(date)} in the name and {shown(tagged)} in its tag "
                faults.append(f"{fault}{tag}, expected one date")
    written = sources.get(f"tag {WRITING_TAG}")
    if written:
        remarks.append(
            f"warning: {', '.join(names[file] for file in written)}: dated by {WRITING_TAG}, which "
            f"says when a file was written and not when the image was taken; {flag} gives dates"
        )
    return sources


def _apart(date: datetime.date, tagged: datetime.date) -> bool:
    """Whether two dates differ by more than time zones do."""
    first, last = span(date)
    return not first - TIME_ZONES <= tagged <= last + TIME_ZONES


def _given_dates(
    names: Mapping[AnyRaster, str], given: str, flag: str, remarks: list[str]
) -> dict[AnyRaster, datetime.date]:
    """Dates of files as given; where a name says the same more exactly, as there.

    A name that says another day is a contradiction. One that only suggests a date (a number that
    may be a path and row) is not, unless the names suggest the same dates in another order.
    """
    words = given.split(",")
    dates = [date for word in words if (date := whole_date(word, years=True)) is not None]
    if len(dates) != len(words) or len(dates) != len(names):
        raise UserError(
            f"{flag}: found {given!r} ({len(words)} dates) for {len(names)} images, "
            "expected a date for each, YYYY-MM-DD or YYYY-MM separated by commas, in the order "
            f"of the names: {', '.join(names.values())}."
        )
    suggested = dates_of_names([file.name for file in names]).dates
    in_order = [date for date in suggested if date is not None]
    swapped = len(in_order) == len(dates) and all(map(meets, sorted(in_order), sorted(dates)))
    contradictions = []
    taken: dict[AnyRaster, datetime.date] = {}
    for (file, name), date in zip(names.items(), dates, strict=True):
        said = read_name(file.name)
        others = sorted(said.every)
        meeting = [other for other in others if meets(other, date)]
        taken[file] = _finer(date, meeting[0]) if len(meeting) == 1 else date
        if meeting or not others:
            continue
        if said.certain is not None or swapped:
            contradictions.append(
                f"  - {name}: found {shown(date)} given, {shown(others[0])} in the name"
            )
        else:
            each = " or ".join(map(shown, others))
            remarks.append(
                f"warning: {name}: {shown(date)} is given; its name can be read as {each}"
            )
    if contradictions:
        raise UserError(
            "\n".join(
                [f"{flag}: dates and names contradict each other.", *contradictions,
                 f"Dates belong to the images in the order of their names; leave {flag} out if "
                 "the names are right, else rename the files."]
            )
        )  # fmt: skip
    return taken
