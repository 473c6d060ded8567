"""Choice of the dates that make up a series, by a rule that can be written down.

Neither paper nor released program says which months the authors took.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from data_processing.rasters.date_patterns import meets, shown
from data_processing.rasters.name_dates import whole_date
from utils.errors import UserError

__all__ = ["DATE_RULES", "check_rule", "choose_dates", "months_between"]

MOST_MONTHS = 1200  # between two dates of a rule: a century
DATE_RULES = "even | every:N | first | YYYY-MM,YYYY-MM,…"


def check_rule(rule: str, count: int, flag: str = "--dates") -> None:
    """Refuse what is no rule before anything is read.

    Args:
        rule: See :func:`choose_dates`.
        count: How many dates are wanted.
        flag: Where the rule is given, for the message.

    Raises:
        UserError: The rule is none, or its list has another number of dates.
    """
    if rule in ("even", "first"):
        return
    if rule.startswith("every:"):
        step = rule[6:]
        if step.isascii() and step.isdecimal() and len(step) <= 4 and 0 < int(step) <= MOST_MONTHS:
            return
    elif "," in rule:
        listed = _listed(rule, flag)
        if len(listed) == count and listed == sorted(set(listed)):
            return
        raise UserError(
            f"{flag}: found {rule!r}, {len(listed)} dates, expected {count} in ascending order."
        )
    raise UserError(f"{flag}: found {rule!r}, expected {DATE_RULES}.")


def choose_dates(
    usable: Sequence[datetime.date], count: int, rule: str, start: datetime.date | None = None
) -> tuple[list[datetime.date], list[str]]:
    """Choose dates of a series.

    Args:
        usable: Dates at hand, ascending.
        count: How many are wanted.
        rule: "even": evenly spaced among the usable ones by number, first and last included;
            "every:N": the first one of the series and then every N months, a missing month
            replaced by the nearest later (else earlier) usable one; "first": the first ones;
            or the dates themselves, separated by commas, as YYYY-MM or YYYY-MM-DD.
        start: First date of the series, usable or not; the first usable one if left out.

    Returns:
        The dates, and a sentence for every one that is not what the rule asks for. Fewer than
        ``count`` dates, none in fact, when there are not enough; the last sentence says so.
    """
    if len(usable) < count:
        return [], [f"{len(usable)} usable dates, expected at least {count}"]
    if rule == "even":
        places = [round(i * (len(usable) - 1) / (count - 1)) for i in range(count)]
        return [usable[place] for place in places], []
    if rule == "first":
        return list(usable[:count]), []
    if rule.startswith("every:"):
        start, step = start or usable[0], int(rule[6:])
        return _nearest(usable, [_months_later(start, i * step) for i in range(count)])
    return _as_listed(usable, _listed(rule))


def months_between(first: datetime.date, last: datetime.date) -> list[datetime.date]:
    """The first day of every month from that of one date to that of another."""
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    return [_months_later(first, number) for number in range(count)]


def _as_listed(
    usable: Sequence[datetime.date], wanted: Sequence[datetime.date]
) -> tuple[list[datetime.date], list[str]]:
    """For each wanted date the usable one of the same day, or of a month and its only day."""
    chosen: list[datetime.date] = []
    missing: list[datetime.date] = []
    said: list[str] = []
    for date in wanted:
        days = [day for day in usable if meets(day, date)]
        if len(days) > 1:
            said.append(f"{shown(date)} may be {' or '.join(map(shown, days))}; name the day")
        elif not days or days[0] in chosen:
            missing.append(date)
        chosen += days[:1]
    if missing:
        said.append(f"no usable data of {', '.join(map(str, missing))}")
    return ([], said) if said else (chosen, [])


def _nearest(
    usable: Sequence[datetime.date], wanted: Sequence[datetime.date]
) -> tuple[list[datetime.date], list[str]]:
    """For each wanted date the date itself, else the next usable one before the date after it."""
    chosen: list[datetime.date] = []
    said: list[str] = []
    for number, date in enumerate(wanted):
        after = wanted[number + 1] if number + 1 < len(wanted) else datetime.date.max
        later = [d for d in usable if date <= d < after]
        earlier = [d for d in usable if d < date and (not chosen or d > chosen[-1])]
        if not later and not earlier:
            return [], [*said, f"no usable data of {date} and none between its neighbours"]
        taken = later[0] if later else earlier[-1]
        if (taken.year, taken.month) != (date.year, date.month):
            said.append(f"no usable data of {date:%Y-%m}, {taken} taken instead")
        chosen.append(taken)
    return chosen, said


def _months_later(date: datetime.date, months: int) -> datetime.date:
    month = date.year * 12 + date.month - 1 + months
    return datetime.date(min(month // 12, datetime.MAXYEAR), month % 12 + 1, 1)


def _listed(rule: str, flag: str = "--dates") -> list[datetime.date]:
    """The dates of a list."""
    listed = []
    for word in rule.split(","):
        date = whole_date(word)
        if date is None:
            raise UserError(f"{flag}: found {word!r} in {rule!r}, expected YYYY-MM or YYYY-MM-DD.")
        listed.append(date)
    return listed
