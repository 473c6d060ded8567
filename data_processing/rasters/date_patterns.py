"""Patterns of dates in file names: product names of the agencies, then general forms.

One table, two parts. PRODUCTS are names that an agency defined, so that the time of sensing can be
told from the time of processing, and a path and row from a year and month. FORMS are how people
write dates, in ranks: a day beats a bare month, a month beats a bare year.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "DAY",
    "FORMS",
    "MONTH",
    "ORDINAL",
    "PRODUCT",
    "PRODUCTS",
    "REVERSED_MONTH",
    "YEAR",
    "CoarseDate",
    "NameReading",
    "meets",
    "read_name",
    "shown",
    "span",
]

# Ranks of readings: the lower, the more a name says.
PRODUCT, DAY, ORDINAL, MONTH, REVERSED_MONTH, YEAR = range(6)
DAY_YEARS = (1900, 2100)  # of days written in full: aerial photographs are old
FIRST_YEAR = 1980  # of shorter forms: other numbers than years look like these, too
CENTURY_SPLIT = 72  # two-digit years from here on are 19…


class CoarseDate(datetime.date):
    """A date that is known to the month, quarter or year: its first day, with the last one.

    Args:
        year, month, day: The first day, which it equals in comparisons.
        last: The last day; the first one if left out.
    """

    last: datetime.date

    def __new__(
        cls, year: int, month: int = 1, day: int = 1, last: datetime.date | None = None
    ) -> CoarseDate:
        """The first day, with the last."""
        date = super().__new__(cls, year, month, day)
        date.last = last or datetime.date(year, month, day)
        return date

    def __reduce__(self) -> tuple[type[CoarseDate], tuple[int, int, int, datetime.date]]:
        """Another process gets the last day, too."""
        return type(self), (self.year, self.month, self.day, self.last)

    @classmethod
    def months(cls, year: int, month: int, count: int = 1) -> CoarseDate:
        """Whole months from this one on; 12 are a year."""
        after = year * 12 + month - 1 + count
        last = datetime.date(after // 12, after % 12 + 1, 1) - datetime.timedelta(1)
        return cls(year, month, 1, last)


def span(date: datetime.date) -> tuple[datetime.date, datetime.date]:
    """First and last day that a date stands for."""
    return datetime.date(date.year, date.month, date.day), getattr(date, "last", date)


def meets(one: datetime.date, other: datetime.date) -> bool:
    """Whether two dates may be the same day."""
    (first, last), (other_first, other_last) = span(one), span(other)
    return first <= other_last and other_first <= last


def shown(date: datetime.date) -> str:
    """A date as far as it is known: 2019-03-15, 2019-03, 2019, 2019-01 … 2019-03."""
    first, last = span(date)
    if first == last:
        return date.isoformat()
    if (first.year, first.month) == (last.year, last.month):
        return f"{first:%Y-%m}"
    if (first.month, last.month, last.day) == (1, 12, 31) and first.year == last.year:
        return f"{first:%Y}"
    return f"{first:%Y-%m} … {last:%Y-%m}"


class Pattern(NamedTuple):
    """One way to write a date.

    Attributes:
        rank: How much it says.
        name: What messages call it; patterns of one name are one way with several spellings.
        regex: With groups y or yy (year), m or b (month, by name), d (day), j (day of year),
            q (quarter), h and i (hour and minute, only checked). Without any: the name holds no
            time of sensing.
        example: A name as it occurs.
    """

    rank: int
    name: str
    regex: re.Pattern[str]
    example: str


# Months in English, German, French, Spanish, Italian, Portuguese; no short form that is a word.
_MONTHS = {
    word: number
    for number, words in enumerate((
        "jan january januar jänner janv janvier ene enero gennaio janeiro",
        "feb february februar févr fevr février fevrier febrero febbraio fevereiro",
        "mar march märz maerz mrz mars marzo março marco",
        "apr april avr avril abr abril aprile",
        "may mai mayo maggio maio",
        "jun june juni juin junio giugno junho",
        "jul july juli juil juillet julio luglio julho",
        "aug august août aout agosto",
        "sep sept september septembre septiembre settembre setembro",
        "oct october okt oktober octobre octubre ottobre outubro",
        "nov november novembre noviembre novembro",
        "dec december dez dezember déc décembre decembre dic diciembre dicembre dezembro",
    ), start=1)
    for word in words.split()
}  # fmt: skip
_NAMES = rf"(?P<b>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_D = r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})"
_J = r"(?P<y>\d{4})(?P<j>\d{3})"
_T = r"T\d{6}"
_TILE = r"T\d{2}[A-Z]{3}"


def _product(name: str, regex: str, example: str) -> Pattern:
    """A product name, anywhere in a file name, in either case, not in the middle of a word."""
    flags = re.IGNORECASE | re.ASCII
    return Pattern(PRODUCT, name, re.compile(rf"(?<![A-Za-z0-9]){regex}(?!\d)", flags), example)


# In this order: what one has matched is not looked at by those after it.
PRODUCTS: tuple[Pattern, ...] = (
    _product("Sentinel-2, old name", rf"S2[A-D]_[A-Z]{{4}}_\w+?_[VS]{_D}{_T}"
             rf"(?:_\d{{8}}{_T})?",
             "S2A_OPER_PRD_MSIL1C_PDMC_20160318T145513_R008_V20160318T105507_20160318T105507"),
    _product("Sentinel-2 granule, which holds the time of processing only",
             rf"S2[A-D]_[A-Z]{{4}}_MSI_L\w+?_\d{{8}}{_T}_A\d{{6}}_{_TILE}",
             "S2A_OPER_MSI_L1C_TL_SGS__20160318T163311_A003857_T31TFJ_B02"),
    _product("Sentinel-2", rf"S2[A-D]_MSIL\d[A-Z]_{_D}{_T}"
             rf"(?:_N\d{{4}}_R\d{{3}}_{_TILE}(?:_\d{{8}}{_T})?)?",
             "S2A_MSIL2A_20200705T100031_N0214_R122_T33UUP_20200705T131502.SAFE"),
    _product("Sentinel-2 granule", rf"L[12][ABC]_{_TILE}_A\d{{6}}_{_D}{_T}",
             "L1C_T31TFJ_A003857_20160318T105507"),
    _product("Sentinel-2 of Earth Engine", rf"{_D}{_T}_\d{{8}}{_T}_{_TILE}",
             "20160318T105507_20160401T145513_T31TFJ"),
    _product("Sentinel-2 tile", rf"{_TILE}_{_D}(?:{_T})?", "T33UUP_20190315T100031_B04_10m"),
    _product("Sentinel-2 of Earth Search", rf"S2[A-D]_\d{{1,2}}[A-Z]{{3}}_{_D}_\d+_L\d[A-Z]",
             "S2B_33UUP_20190315_0_L2A"),
    _product("Sentinel-2 of THEIA", rf"SENTINEL2[A-D]_{_D}-\d{{6}}-\d{{3}}_L\w+?_{_TILE}",
             "SENTINEL2A_20190315-105507-123_L2A_T31TFJ_D_V1-0"),
    _product("Sentinel-1", rf"S1[A-D][-_]\w{{2,3}}[-_]\w{{3,4}}_?[-_]\w{{2,4}}[-_]{_D}{_T}"
             rf"[-_]\d{{8}}{_T}",
             "S1A_IW_GRDH_1SDV_20190315T235955_20190316T000020_026345_02F283_1A2B"),
    _product("Sentinel-3", rf"S3[A-D]_\w\w_\d_\w{{6}}_{_D}{_T}(?:_\d{{8}}{_T}){{1,2}}",
             "S3A_OL_1_EFR____20190315T093000_20190315T093300_20190316T120000_0179"),
    _product("HLS", rf"HLS[._][LS]30[._]{_TILE}[._]{_J}(?:{_T})?",
             "HLS.S30.T53SMS.2019074T013701.v2.0.B04"),
    _product("Landsat", rf"L[COTEM]\d\d_L\d\w\w_\d{{6}}_{_D}(?:_\d{{8}}(?:_\d\d_\w\w)?)?",
             "LC08_L2SP_199012_20150706_20200912_02_T1"),
    _product("Landsat ARD", rf"L[COTEM]\d\d_(?:CU|AK|HI)_\d{{6}}_{_D}(?:_\d{{8}})?",
             "LC08_CU_003010_20150706_20210502_02_SR"),
    _product("Landsat of Earth Engine", rf"L[COTEM]\d\d_\d{{6}}_{_D}", "LC08_199012_20150706"),
    _product("Landsat of ESPA", rf"L[COTEM]\d{{8}}{_D}\d\d(?:T1|T2|RT)(?:-SC\d{{14}})?",
             "LC081990122015070601T1-SC20200912101112"),
    _product("Landsat before collections", rf"L[COTEM]\d{{7}}{_J}(?:[A-Z]{{3}}\d\d)?"
             r"(?:-SC\d{14})?", "LT50460272000108PAC01"),
    _product("Landsat of the 1990s", rf"L[1-7][1F]?\d{{6}}_\d{{3}}{_D}",
             "L71199012_01220000706_B10"),
    _product("Landsat of GLCF", rf"p\d{{3}}r\d{{2,3}}_\d[a-z]{{1,3}}{_D}",
             "p199r012_7dk20000706_z34_nn10"),
    _product("MODIS, VIIRS", rf"A{_J}(?:[._]h\d\dv\d\d[._]\d{{3}}[._]\d{{13}})?",
             "MOD13Q1.A2019074.h18v04.006.2019090123456"),
    _product("MODIS, VIIRS", r"(?:MOD|MYD|MCD|VNP|VJ1)\d\d\w{0,3}?[._](?:\d{3}[._])?"
             r"(?P<y>\d{4})[._]?(?P<j>\d{3})", "MOD13Q1_2019_081"),
    _product("AppEEARS", rf"doy{_J}", "MOD13Q1.006__250m_16_days_NDVI_doy2019074_aid0001"),
    _product("PlanetScope", rf"{_D}_\d{{6}}(?:_\d\d)?_[0-9a-f]{{4}}(?![0-9a-z])",
             "20190315_100101_0f22_3B_AnalyticMS_SR"),
    _product("SkySat, RapidEye", rf"{_D}_\d{{6}}_(?:ssc?\d{{1,2}}(?![0-9a-z])|\d{{7}}_RapidEye)",
             "20190315_100101_ssc1_u0001_analytic"),
    _product("RapidEye", r"\d{7}_(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)_RE\d",
             "3159120_2015-03-15_RE1_3A_Analytic"),
    _product("Planet basemap", r"(?:global|planet|ps)_\w+?_(?P<y>\d{4})[-_](?P<m>\d\d)_mosaic",
             "global_monthly_2018_05_mosaic_L15-0331E-1257N_1327_3160_13"),
    _product("Planet basemap", r"(?:global|planet|ps)_\w+?_(?P<y>\d{4})q(?P<q>[1-4])_mosaic",
             "global_quarterly_2019q1_mosaic"),
    _product("SPOT, Pléiades", rf"(?:SPOT\d|PHR1[AB]|PNEO\d)_(?:[\w-]{{1,8}}?_)?{_D}\d{{6,7}}",
             "IMG_PHR1A_PMS_201503151020123_ORT_1234567101-001_R1C1"),
    _product("SPOT 1–5", r"[1-5]\d{6}(?P<yy>\d\d)(?P<m>\d\d)(?P<d>\d\d)\d{6}[12][A-Z](?![A-Za-z])",
             "50462370705151102032J"),
    _product("CBERS, Amazonia", rf"(?:CBERS|AMAZONIA)_\d[AB]?_\w+?_{_D}_\d{{3}}_\d{{3}}",
             "CBERS_4_MUX_20190315_154_126_L4_BAND5"),
    _product("Gaofen", rf"GF\d\w*?_\w+?_[EW][\d.]+_[NS][\d.]+_{_D}",
             "GF1_PMS1_E116.5_N39.4_20190315_L1A0003891234"),
    _product("ASTER", r"AST_\w{3,5}_\d{3}(?P<m>\d\d)(?P<d>\d\d)(?P<y>\d{4})\d{6}(?:_\d{14})?",
             "AST_L1T_00303152009102030_20150610101112_12345"),
    _product("OPERA", rf"OPERA_L\d_\w+-S1_[\w-]+?_{_D}{_T}Z_\d{{8}}{_T}Z",
             "OPERA_L2_RTC-S1_T064-135518-IW1_20231101T122640Z_20231102T041234Z_S1A_30_v1.0_VV"),
    _product("NAIP", rf"m_\d{{7}}_[ns][ew]_\d\d_\w{{1,3}}?_{_D}(?:_\d{{8}})?",
             "m_3807708_ne_18_060_20181103_20190209"),
    _product("Maxar", rf"(?P<yy>\d\d){_NAMES}(?P<d>\d\d)\d{{6}}-[A-Z]\d[A-Z]{{2}}",
             "15MAR12103045-M2AS-012345678010_01_P001"),
    _product("EnMAP", rf"ENMAP\d\d-[\w-]*?_{_D}{_T}Z[\w-]*",
             "ENMAP01-____L2A-DT0000001234_20220615T102030Z_001_V010400_20220621T112233Z"),
)  # fmt: skip

# Path and row of a Landsat scene, which are no year and month: L8_199012.
PATH_ROW = re.compile(
    r"(?<![A-Za-z])(L[COETM]?0?[1-9]|landsat[-_ ]?[1-9]?)[-_ ]?"
    r"(?:[01]\d\d|2[0-3]\d)(?:[01]\d\d|2[0-4]\d)(?!\d)",
    re.IGNORECASE | re.ASCII,
)
_SEP = r"[-_. ]"
_GAP = rf"{_SEP}{{0,2}}"
# Where a number begins that goes on no other one: in S2_2019 it does, in 12_2019 it does not.
_FREE = r"(?<!\d)" + "".join(
    rf"(?<!^\d{{{n}}}{_SEP})(?<![^A-Za-z0-9]\d{{{n}}}{_SEP})" for n in range(1, 9)
)
# What a number before it makes a size and no part of a date: 2018_01_10m, 2018_4bands.
_UNIT = r"(?:m|cm|dm|mm|km|ha|deg|bits?|bands?|ch|x\d+)(?![A-Za-z])"


def _form(rank: int, name: str, regex: str, example: str) -> Pattern:
    """A general form, looked for at every position: an implausible number hides nothing."""
    whole = re.compile(rf"(?=(?<!\d){regex})", re.IGNORECASE | re.ASCII)
    return Pattern(rank, name, whole, example)


FORMS: tuple[Pattern, ...] = (
    _form(DAY, "year-month-day", rf"{_D}(?:(?P<h>\d\d)(?P<i>\d\d)(?:\d\d(?:\d{{3}})?)?)?(?!\d)",
          "city_20190315, 201903151001, 20190315100101"),
    _form(DAY, "year-month-day", rf"(?P<y>\d{{4}})(?P<s>{_SEP})(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)"
          rf"(?!\d|{_UNIT})", "2019-03-15, 2019_3_5"),
    _form(DAY, "year-month-day", rf"(?P<y>\d{{4}}){_SEP}?{_NAMES}{_SEP}?(?P<d>\d\d?)"
          rf"(?!\d|{_UNIT})", "2019-Mar-15"),
    _form(DAY, "day-month-year", rf"{_FREE}(?P<d>\d\d?)(?P<s>{_SEP})(?P<m>\d\d?)(?P=s)"
          r"(?P<y>\d{4})(?!\d)", "15-03-2019_12h30"),
    _form(DAY, "day-month-year", r"(?P<d>\d\d)(?P<m>\d\d)(?P<y>\d{4})(?!\d)", "15032019"),
    _form(DAY, "day-month-year", rf"(?P<d>\d\d?){_GAP}{_NAMES}{_GAP}(?P<y>\d{{4}})(?!\d)",
          "15mar2019, 15. Mai 2019, 15_août_2019"),
    _form(DAY, "year-month-day", r"(?P<y>\d{4})年(?P<m>\d\d?)月(?P<d>\d\d?)日", "2019年3月15日"),
    _form(DAY, "month-day-year", rf"{_FREE}(?P<m>\d\d?)(?P<s>{_SEP})(?P<d>\d\d?)(?P=s)"
          r"(?P<y>\d{4})(?!\d)", "03-15-2019"),
    _form(DAY, "month-day-year", r"(?P<m>\d\d)(?P<d>\d\d)(?P<y>\d{4})(?!\d)", "03152019"),
    _form(DAY, "month-day-year", rf"(?<![A-Za-z]){_NAMES}{_SEP}?(?P<d>\d\d?){_SEP}(?P<y>\d{{4}})"
          r"(?!\d)", "March-15-2019"),
    _form(ORDINAL, "year and day of year", r"(?P<y>\d{4})-?(?P<j>\d{3})(?!\d)",
          "2019074, 2019-074"),
    _form(MONTH, "year-month", rf"(?P<y>\d{{4}})(?P<s>{_SEP}?)(?P<m>\d\d)(?!\d|{_UNIT})"
          rf"(?!(?P=s)(?<=\D)\d\d?(?!\d|{_UNIT}))", "2018_05, 201805"),
    _form(MONTH, "year-month", rf"(?P<y>\d{{4}}){_SEP}?{_NAMES}(?![A-Za-z])", "2019-Mar"),
    _form(MONTH, "year-month", rf"(?<![A-Za-z]){_NAMES}{_SEP}?(?P<y>\d{{4}})(?!\d)", "Mar2019"),
    _form(MONTH, "year-quarter", rf"(?P<y>\d{{4}}){_SEP}?q(?P<q>[1-4])(?![A-Za-z0-9])", "2019_Q1"),
    _form(MONTH, "yymmdd", r"(?P<yy>\d\d)(?P<m>\d\d)(?P<d>\d\d)(?!\d)", "990315"),
    _form(MONTH, "ddmmyy", r"(?P<d>\d\d)(?P<m>\d\d)(?P<yy>\d\d)(?!\d)", "150399"),
    _form(REVERSED_MONTH, "month-year", rf"(?<![^\W_]){_FREE}(?P<m>\d\d){_SEP}(?P<y>\d{{4}})"
          rf"(?![^\W_])(?!{_SEP}\d)", "03-2019"),
    _form(YEAR, "year alone", rf"{_FREE}(?P<y>\d{{4}})(?![^\W_])"
          rf"(?!{_SEP}(?:[wq]?\d+(?!\d|{_UNIT})))", "city_2019"),
)  # fmt: skip


@dataclass(frozen=True)
class NameReading:
    """Dates that one name can be read as.

    Attributes:
        rank: Of the readings, the best at which there are any; None without.
        dates: By the name of the pattern, each at least once.
        faults: What looks like a date and is none, where there is no reading.
        whole: Whether the name consists of a date and nothing else.
    """

    rank: int | None = None
    dates: Mapping[str, frozenset[datetime.date]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    whole: bool = False

    @property
    def every(self) -> frozenset[datetime.date]:
        """All different readings."""
        return frozenset().union(*self.dates.values())

    @property
    def certain(self) -> datetime.date | None:
        """The date that a name says and does not only suggest: a day, or all it holds."""
        if self.rank is None or len(self.every) != 1 or not (self.rank <= DAY or self.whole):
            return None
        return next(iter(self.every))


def read_name(name: str) -> NameReading:
    """Read a file name.

    Args:
        name: With or without folders and suffix; folders say nothing.

    Returns:
        The readings at the best rank: the product names in it, else the general forms.
    """
    stem = unicodedata.normalize("NFC", re.split(r"[\\/]", name)[-1]).lower()
    bare = re.sub(r"(\.[A-Za-z]\w{0,7})+$", "", stem)  # 2018_01.tif, 2018_01.cog.tif
    dates: dict[str, set[datetime.date]] = {}
    faults: list[str] = []
    rest = stem
    for pattern in PRODUCTS:
        for match in pattern.regex.finditer(rest):
            _take(pattern, match, dates, faults)
        rest = pattern.regex.sub(" ", rest)
    rest = PATH_ROW.sub(r"\1", stem)
    for rank in (DAY, ORDINAL, MONTH, REVERSED_MONTH, YEAR):
        if dates or faults:
            break
        for pattern in (form for form in FORMS if form.rank == rank):
            for match in pattern.regex.finditer(rest):
                _take(pattern, match, dates, faults)
        if dates:
            whole = re.fullmatch(r"\d{4}(\D?\d{2})?", bare) is not None
            return NameReading(rank, _frozen(dates), whole=whole)
    if dates:
        return NameReading(PRODUCT, _frozen(dates))
    return NameReading(faults=tuple(dict.fromkeys(faults)))


def _frozen(dates: Mapping[str, set[datetime.date]]) -> dict[str, frozenset[datetime.date]]:
    return {name: frozenset(days) for name, days in dates.items()}


def _take(
    pattern: Pattern,
    match: re.Match[str],
    dates: dict[str, set[datetime.date]],
    faults: list[str],
) -> None:
    """Add the date of a match, or the fault that it is none."""
    groups = {key: text for key, text in match.groupdict().items() if text and key != "s"}
    if not groups:
        faults.append(f"found the name of a {pattern.name}")
        return
    try:
        date = _date(groups, pattern.rank)
    except ValueError:
        if pattern.rank > ORDINAL:  # rather no date at all
            return
        parts = [groups[key] for key in ("y", "yy", "m", "b", "d", "j") if key in groups]
        faults.append(f"found {'-'.join(parts)}, a day that does not exist,")
        return
    if date is not None:
        dates.setdefault(pattern.name, set()).add(date)


def _date(groups: Mapping[str, str], rank: int) -> datetime.date | None:
    """The date of the groups of a match, None where the numbers are rather none.

    Raises:
        ValueError: Year, month and day are plausible, and there is no such day.
    """
    year = _year(groups)
    first, last = DAY_YEARS
    if rank > DAY or len(groups.get("d", "")) < 2 or len(groups.get("m", "")) < 2:
        last = datetime.date.today().year + 1  # and images are not of the future
        first = first if rank == PRODUCT else FIRST_YEAR
    if not first <= year <= last:
        return None
    if "j" in groups:
        return _day_of_year(year, int(groups["j"]))
    if "q" in groups:
        return CoarseDate.months(year, int(groups["q"]) * 3 - 2, 3)
    if "m" not in groups and "b" not in groups:
        return CoarseDate.months(year, 1, 12)
    month = _MONTHS[groups["b"].lower()] if "b" in groups else int(groups["m"])
    if not 1 <= month <= 12:
        if rank == PRODUCT:  # another number of the name shall not stand for its day
            raise ValueError("no such month")
        return None
    if "d" not in groups:
        return CoarseDate.months(year, month)
    in_time = int(groups.get("h", 0)) < 24 and int(groups.get("i", 0)) < 60
    if rank != PRODUCT and (not 1 <= int(groups["d"]) <= 31 or not in_time):
        return None
    return datetime.date(year, month, int(groups["d"]))


def _day_of_year(year: int, number: int) -> datetime.date | None:
    date = datetime.date(year, 1, 1) + datetime.timedelta(number - 1)
    if number == 366 and date.year != year:
        raise ValueError("no leap year")
    return date if date.year == year else None


def _year(groups: Mapping[str, str]) -> int:
    if "y" in groups:
        return int(groups["y"])
    short = int(groups["yy"])
    return short + (1900 if short >= CENTURY_SPLIT else 2000)
