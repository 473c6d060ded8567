"""Dates of one's own images: which file is of which day, and which days make up the series."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from data_processing.own_series.options import Remarks, SeriesOptions
from data_processing.rasters.date_choice import check_rule, choose_dates
from data_processing.rasters.dates import UnknownDate, dates_of, has_date, short_names
from data_processing.rasters.reading import IMAGES, header_of
from data_processing.rasters.sources import Raster, folder_of
from data_processing.scenes.spec import DatasetSpec
from utils.errors import DataError, UserError

__all__ = [
    "chosen_dates",
    "clearest_dates",
    "clearest_number",
    "dated_files",
    "refuse_stack",
]

PAIR = 2  # images that may do without dates
ALL = "all"
CLEAREST = "clearest:"
MOST_DATES = 255  # 254 intervals: what a byte holds beside "unchanged" and "no data"
FOR_PAIRS = (
    "Two images are a pair: the network for pairs, CTMA, takes them (--checkpoint "
    "best_model/Pretrained_model_CTMA.pth, or none; see docs/ctma.md)."
)


def dated_files(
    words: Sequence[str | Path],
    files: Sequence[Raster],
    spec: DatasetSpec,
    given: str | None,
    remarks: list[str],
) -> dict[datetime.date, Raster]:
    """Files by date, ascending: as given, from names or tags; of a pair without any, as named.

    Args:
        words: As the user named them.
        files: The files that these are, each once.
        spec: Facts of the images.
        given: Dates in the order of the files, separated by commas.
        remarks: Gets the date of every file and where it comes from.

    Raises:
        UserError: The given dates cannot be used.
        DataError: Some files have no date, or one twice.
    """
    pair = spec.num_dates == PAIR == len(words) == len(files) and not any(
        Path(word).is_dir() for word in words
    )
    if pair and given is None and not has_date(files):
        labels = list(short_names(files).values())
        remarks.append(
            f"no dates in names or tags: {labels[0]} is taken as the image before, {labels[1]} as "
            "the one after"
        )
        return {UnknownDate(k, labels[k]): file for k, file in enumerate(files)}
    faults: list[str] = []
    dated = dates_of(files, given, faults, remarks)
    if faults:
        raise DataError(folder_of(files[0]), faults, _advice(spec, len(files)))
    if pair and list(dated.values()) != list(files):
        remarks.append(
            f"warning: {files[0].name} is named first and is the later one by its date: "
            f"{files[1].name} is taken as the image before"
        )
    return dated


def _advice(spec: DatasetSpec, count: int) -> str:
    if spec.num_dates == PAIR:
        return (
            "Rename the two files (without any date they are taken in the order in which they are "
            "named, before.tif after.tif), or give their dates with --dates."
        )
    return (
        f"Rename the files, or give their dates with --dates; {spec.num_dates} dates are expected "
        f"as in {spec.title}." + (f" {FOR_PAIRS}" if count == PAIR else "")
    )


def refuse_stack(files: Sequence[Raster], num_bands: int, num_dates: int) -> None:
    """Refuse one file that holds all dates as bands, and say how it becomes files of one date.

    Raises:
        DataError: It is such a file.
    """
    count = header_of(files[0], IMAGES).count if len(files) == 1 else 0
    if num_dates < PAIR or count not in (num_bands * num_dates, num_dates):
        return
    each = count // num_dates
    raise DataError(
        str(files[0]),
        [
            f"found one file of {count} bands, expected a file for each of {num_dates} dates "
            f"with {num_bands} bands"
        ],
        f"If it holds {num_dates} dates of {each} bands one after the other, say so: "
        f"--bands-per-date {each} --dates 2018-01,2018-05,… (a date for each).",
    )


def chosen_dates(
    dates: list[datetime.date],
    spec: DatasetSpec,
    rule: str | None,
    where: str,
    remarks: Remarks,
) -> list[datetime.date]:
    """The dates of the series, all or chosen by a rule.

    Raises:
        UserError: The rule is none, or there are more dates than it can serve.
        DataError: There are too few.
    """
    count = spec.num_dates
    listed = ", ".join(map(str, dates))
    if len(dates) < count:
        fault = f"found {len(dates)} dates ({listed}), expected {count} as in {spec.title}"
        more = "Add images (GeoTIFFs); other weights may take fewer."
        raise DataError(where, [fault], f"{more} {FOR_PAIRS}" if len(dates) == PAIR else more)
    if len(dates) == count and rule in (None, ALL):
        return dates
    if count == PAIR and rule in (None, ALL):
        raise UserError(
            f"{where}: found {len(dates)} dates ({listed}), the network takes a pair. Add "
            "--choose-dates even to take the first and the last one, or name the two images; "
            "for all dates take weights for series."
        )
    if rule in (None, ALL):
        if len(dates) > MOST_DATES:
            raise UserError(
                f"{where}: found {len(dates)} dates, expected {MOST_DATES} at most, since a map "
                "numbers its intervals in bytes. Add --choose-dates even, or a --composite."
            )
        remarks.all.append(
            f"all {len(dates)} dates used: the network takes {count} at a time, chosen so that "
            "together they tell all intervals apart"
        )
        return dates
    check_rule(rule, count, "--choose-dates")
    chosen, said = choose_dates(dates, count, rule)
    if not chosen:
        faults = [f"--choose-dates {rule}: {sentence}" for sentence in said]
        raise DataError(where, faults, f"Dates at hand: {listed}.")
    remarks.add_gaps(said)
    if len(dates) > count:
        taken = ", ".join(map(str, chosen))
        remarks.all.append(f"{count} of {len(dates)} dates chosen by the rule {rule!r}: {taken}")
    return chosen


def clearest_number(options: SeriesOptions, spec: DatasetSpec, at_hand: int) -> int | None:
    """Number of clearest dates wanted; None where --choose-dates says something else.

    Raises:
        UserError: The number is none, or does not go with the network or the dates at hand.
    """
    rule = options.choose_dates or ""
    if not rule.startswith(CLEAREST):
        return None
    if options.composite is not None:
        raise UserError(
            f"--choose-dates {rule}: found --composite {options.composite} beside it, expected one "
            "of them: a composite takes the clear pixels of all dates."
        )
    text = rule[len(CLEAREST) :]
    most = min(at_hand, MOST_DATES)
    number = int(text) if text.isdecimal() and len(text) < 4 else -1
    if not spec.num_dates <= number <= most:
        raise UserError(
            f"--choose-dates: found {rule!r}, expected clearest:N with N from {spec.num_dates}, "
            f"which the network takes, to {most}, the dates at hand."
        )
    return number


def clearest_dates(
    dates: Sequence[datetime.date],
    unseen: Sequence[float],
    number: int,
    remarks: Remarks,
) -> list[datetime.date]:
    """The clearest dates, spread over the time.

    The time from first to last is cut into as many equal parts; each gives its clearest date, and
    where a part has none the clearest of all others stands in.

    Args:
        dates: Ascending.
        unseen: Share of pixels that are not seen at each.
        number: How many to choose.
        remarks: Gets the choice.
    """
    days = [date.toordinal() for date in dates]
    span = max(1, days[-1] - days[0])
    order = sorted(range(len(dates)), key=lambda place: (unseen[place], place))
    chosen: dict[int, int] = {}  # part of the time: place of its clearest date
    for place in order:
        part = min(number - 1, (days[place] - days[0]) * number // span)
        chosen.setdefault(part, place)
    places = set(chosen.values())
    places |= set([place for place in order if place not in places][: number - len(places)])
    taken = sorted(places)
    listed = ", ".join(f"{dates[place]} {unseen[place]:.0%}" for place in taken)
    remarks.all.append(
        f"the {number} clearest of {len(dates)} dates, spread over the time, with the share "
        f"that is not seen: {listed}"
    )
    return [dates[place] for place in taken]
