"""Which of the dates at hand make up a series, by a rule that can be written down.

Neither paper nor released program says which months the authors took.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from data_processing.rasters.name_dates import whole_date
from utils.errors import UserError

__all__ = ["DATE_RULES", "check_rule", "choose_dates"]

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
        if rule[6:].isdigit() and int(rule[6:]) > 0:
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
    usable: Sequence[datetime.date], count: int, rule: str
) -> tuple[list[datetime.date], list[str]]:
    """Choose dates of a series.

    Args:
        usable: Dates at hand, ascending.
        count: How many are wanted.
        rule: "even": evenly spaced among the usable ones by number, first and last included;
            "every:N": the first usable one and then every N months, a missing month replaced by
            the nearest later (else earlier) usable one; "first": the first ones;
            or the dates themselves, separated by commas, as YYYY-MM or YYYY-MM-DD.

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
        start, step = usable[0], int(rule[6:])
        wanted = [_months_later(start, i * step) for i in range(count)]
        return _nearest(usable, wanted)
    wanted = _listed(rule)
    missing = [date for date in wanted if date not in usable]
    if missing:
        return [], [f"no usable data of {', '.join(map(str, missing))}"]
    return wanted, []


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
    return datetime.date(month // 12, month % 12 + 1, 1)


def _listed(rule: str, flag: str = "--dates") -> list[datetime.date]:
    """The dates of a list."""
    listed = []
    for word in rule.split(","):
        date = whole_date(word)
        if date is None:
            raise UserError(f"{flag}: found {word!r} in {rule!r}, expected YYYY-MM or YYYY-MM-DD.")
        listed.append(date)
    return listed
