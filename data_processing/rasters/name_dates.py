"""Dates of a series from the names of its files: all of them read in one way, or refused.

Positions in a name are never relied on, and no name is read alone: what looks like a date in one
name of a series is none where the others do not go along.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_processing.rasters.date_patterns import (
    DAY,
    PRODUCT,
    YEAR,
    CoarseDate,
    NameReading,
    read_name,
    shown,
)

__all__ = ["DatedNames", "date_from_name", "dates_of_names", "whole_date"]

FIRST_YEAR = 1900  # of dates that are given
LAST_YEAR = 2100


@dataclass(frozen=True)
class DatedNames:
    """Dates of the names of a series.

    Attributes:
        dates: Of each name, None where it holds none; a month or year alone is a CoarseDate.
        forms: How they were read, by the names of patterns.
        faults: Names that can be read in several ways, or not as the others; no name has a date
            then.
    """

    dates: tuple[datetime.date | None, ...]
    forms: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def dates_of_names(names: Sequence[str], labels: Sequence[str] | None = None) -> DatedNames:
    """Read the names of a series.

    A name that holds no date at all gets None. The others are read by the product names in them,
    or by one general form that fits all. Two forms that fit all and differ, two different dates in
    one name, a day in some and only a month in others, and days that do not exist are faults.

    Args:
        names: With or without folders and suffixes.
        labels: What messages call them, if otherwise.
    """
    labels = labels or names
    none = (None,) * len(names)
    readings = dict(enumerate(map(read_name, names)))
    faults = [
        f"{labels[k]}: {fault} in the name" for k, r in readings.items() for fault in r.faults
    ]
    if any(reading.rank != YEAR for reading in readings.values()):
        readings = {k: r for k, r in readings.items() if r.rank != YEAR}
    readings = {k: r for k, r in readings.items() if r.rank is not None}
    if faults or not readings:
        return DatedNames(none, faults=tuple(faults))
    forms = _common_forms(list(readings.values()))
    if not forms:
        return DatedNames(none, faults=_differences(labels, readings))
    dates: list[datetime.date | None] = list(none)
    for k, reading in readings.items():
        form_of = _forms_of(reading, forms)
        if len(form_of) > 1:
            faults.append(f"{labels[k]}: found {_listed(form_of)} in the name, expected one date")
        dates[k] = next(iter(form_of))
    return DatedNames(none if faults else tuple(dates), forms, tuple(faults))


def date_from_name(name: str) -> datetime.date | None:
    """The date of a name that is read alone, None where it holds none or several."""
    return dates_of_names([name]).dates[0]


_DATE = re.compile(r"(\d{4})(?:([-/_. ]?)(\d{2})(?:\2(\d{2}))?)?(?:[T ].*)?", re.ASCII)


def whole_date(text: str, years: bool = False) -> datetime.date | None:
    """The date that a whole text is: YYYY-MM-DD, YYYY-MM, YYYYMMDD or YYYYMM, a time after it.

    Args:
        text: Of a flag, tag or property.
        years: Whether YYYY is a date, too.

    Returns:
        None for other texts, days that do not exist and years before 1900 or after 2100.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None or not FIRST_YEAR <= int(match[1]) <= LAST_YEAR:
        return None
    year, month, day = int(match[1]), int(match[3] or 0), int(match[4] or 0)
    try:
        if match[4]:
            return datetime.date(year, month, day)
        if match[3]:
            return CoarseDate.months(year, month)
    except ValueError:
        return None
    return CoarseDate.months(year, 1, 12) if years else None


def _common_forms(readings: Sequence[NameReading]) -> tuple[str, ...]:
    """The forms by which all names can be read; none where they go different ways.

    Product names of several kinds, and days beside them, are one way: each is sure by itself.
    """
    products = {form: None for r in readings if r.rank == PRODUCT for form in r.dates}
    others = [reading for reading in readings if reading.rank != PRODUCT]
    if not others:
        return tuple(products)
    ranks = {reading.rank for reading in others}
    if len(ranks) > 1 or (products and ranks != {DAY}):
        return ()
    common = [form for form in others[0].dates if all(form in r.dates for r in others)]
    return (*products, *common) if common else ()


def _forms_of(reading: NameReading, forms: Sequence[str]) -> dict[datetime.date, str]:
    """The dates that a name has by these forms, ascending, each with its form."""
    form_of = {date: form for form in forms for date in reading.dates.get(form, ())}
    return dict(sorted(form_of.items()))


def _listed(form_of: Mapping[datetime.date, str]) -> str:
    return " and ".join(f"{shown(date)} ({form})" for date, form in form_of.items())


def _differences(labels: Sequence[str], readings: Mapping[int, NameReading]) -> tuple[str, ...]:
    """Names that are not read as the one that says most, in sentences."""
    best = min(readings, key=lambda k: (readings[k].rank or 0, k))
    expected = _listed(_forms_of(readings[best], list(readings[best].dates)))
    return tuple(
        f"{labels[k]}: found {_listed(_forms_of(reading, list(reading.dates)))} in the name, "
        f"expected a date as in {labels[best]}: {expected}"
        for k, reading in readings.items()
        if reading.rank != PRODUCT and reading.dates.keys() != readings[best].dates.keys()
    )
