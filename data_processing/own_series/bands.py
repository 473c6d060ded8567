"""The order of bands: do images, as far as files tell, have the one that a network expects.

Band descriptions are taken at their word. Colour marks are not where writers set them unasked:
8-bit files of three or four bands become RGB or RGBA by default.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_processing.own_series.finding import RGB
from data_processing.rasters.reading import COLORS, RasterInfo
from data_processing.scenes.spec import DatasetSpec

__all__ = [
    "common_names",
    "names_of_bands",
    "numbers_by_name",
    "other_colors",
    "other_names",
    "without_alpha",
]

# what band descriptions are called; exact words only, since "coastal blue" is not blue
NAMES_OF_BANDS = {
    "blue": "blue", "b": "blue", "b02": "blue", "green": "green", "g": "green", "b03": "green",
    "red": "red", "r": "red", "b04": "red", "nir": "nir", "n": "nir", "b08": "nir",
    "near infrared": "nir", "near-infrared": "nir", "nir1": "nir", "alpha": "alpha", "a": "alpha",
}  # fmt: skip
# B2 is blue for Sentinel-2 and green for Landsat 7, so that it takes B8 beside it to tell
SENTINEL_2 = {"b2": "blue", "b3": "green", "b4": "red", "b8": "nir"}


def without_alpha(info: RasterInfo, spec: DatasetSpec) -> tuple[int, ...] | None:
    """The bands to take where a file has one more than the network takes, an alpha band."""
    wanted = len(spec.bands)
    if spec.alpha_band is None and info.count == wanted + 1 and info.alpha is not None:
        return tuple(n + 1 for n in range(info.count) if n != info.alpha)
    return None


def common_names(words: Sequence[str]) -> tuple[str, ...]:
    """Names of bands, common bands by their common names: B02, B03 are blue, green."""
    return tuple(common or word for common, word in zip(_common(words), words, strict=True))


def names_of_bands(info: RasterInfo, numbers: Sequence[int] | None) -> tuple[str, ...] | None:
    """The names a file gives its bands, common ones by their common names; None where one has none.

    Args:
        info: Header of the file.
        numbers: The bands that are taken, from 1; all if None.
    """
    words = [(text or "").strip() for text in info.band_names]
    places = range(info.count) if numbers is None else [number - 1 for number in numbers]
    names = common_names(words)
    taken = [names[place] for place in places if place < len(names)]
    return tuple(taken) if len(taken) == len(places) and all(taken) else None


def numbers_by_name(
    names: Sequence[str], headers: Sequence[tuple[str, RasterInfo]], faults: list[str]
) -> tuple[int, ...] | None:
    """Band numbers, from 1, by the names that files give their bands.

    Args:
        names: As ``--bands`` gives them; upper and lower case are the same.
        headers: Name and header of each image.
        faults: Gets images that lack a band, and those with other places than the first.

    Returns:
        None where there are faults.
    """
    places: dict[tuple[int, ...], str] = {}
    for name, info in headers:
        described = [(text or "").strip().lower() for text in info.band_names]
        missing = [band for band in names if described.count(band.lower()) != 1]
        if missing:
            listed = ", ".join(text or "no name" for text in info.band_names) or "no bands"
            faults.append(
                f"{name}: found bands called {listed}, expected {', '.join(missing)} once each "
                "(--bands)"
            )
        else:
            places.setdefault(tuple(described.index(band.lower()) + 1 for band in names), name)
    if len(places) > 1:
        places_of = " and ".join(f"{list(place)} in {name}" for place, name in places.items())
        faults.append(f"found the bands {', '.join(names)} at {places_of}, expected one order")
    return None if faults else next(iter(places))


def other_names(
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    numbers: Sequence[int] | None,
) -> tuple[list[str], bool]:
    """Faults where band descriptions contradict what the network expects.

    Args:
        headers: Name and header of each image.
        spec: Facts of the network's images.
        numbers: The bands that are taken, from 1; all if None.

    Returns:
        A sentence for each file with another order, and whether any description was understood.
    """
    faults = []
    understood = False
    for name, info in headers:
        described = _described(info, spec)
        pairs, order = _against(described, spec, numbers)
        understood = understood or bool(pairs)
        if any(band != wanted for band, wanted in pairs):
            remedy = _remedy(described, spec) or "; correct the names or take other bands"
            faults.append(f"{name}: its band names say {order}, expected {_expected(spec)}{remedy}")
    return faults, understood


def other_colors(
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    numbers: Sequence[int] | None,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Contradictions of colour marks, where neither descriptions nor flags say what bands are.

    Args:
        headers: Name and header of each image.
        spec: Facts of the network's images.
        numbers: The bands that are taken, from 1; all if None.

    Returns:
        Faults where marks were set on purpose; and where they may be a writer's default, names and
        warnings.
    """
    faults: list[str] = []
    warnings: list[tuple[str, str]] = []
    as_they_are = ",".join(map(str, numbers or range(1, len(spec.bands) + 1)))
    for name, info in headers:
        colors = info.colors
        pairs, marks = _against(colors, spec, numbers)
        if all(color == wanted for color, wanted in pairs):
            continue
        remedy = _remedy(colors, spec) or "; --bands picks them"
        if info.dtype == "uint8" and info.count in (RGB, RGB + 1) and colors[:3] == COLORS[:3]:
            order = _remedy(colors[:3], spec, info.count)
            sentence = (
                f"its bands are marked {marks}, as many programs do by default, and taken as "
                f"{_expected(spec)}{order and order + ' if the marks are right'}"
            )
            warnings.append((name, sentence))
            continue
        faults.append(
            f"{name}: its bands are marked {marks}, expected {_expected(spec)}{remedy}; if the "
            f"marks are wrong, --bands {as_they_are}"
        )
    return faults, warnings


def _described(info: RasterInfo, spec: DatasetSpec) -> list[str | None]:
    """Name each band by its description, None where that is neither common nor the spec's."""
    words = [text or "" for text in info.band_names]
    own = {band.lower(): band for band in spec.bands}
    pairs = zip(_common(words), words, strict=True)
    return [own.get(word.strip().lower(), common) for common, word in pairs]


def _common(words: Sequence[str]) -> list[str | None]:
    """The common name of each band, None where there is none."""
    lower = [word.strip().lower() for word in words]
    table = NAMES_OF_BANDS | (SENTINEL_2 if "b8" in lower and "b1" not in lower else {})
    return [table.get(word) for word in lower]


def _against(
    bands: Sequence[str | None], spec: DatasetSpec, numbers: Sequence[int] | None
) -> tuple[list[tuple[str, str]], str]:
    """Known bands with those that are expected in their places, and a list for messages."""
    taken = list(bands) if numbers is None else [bands[n - 1] for n in numbers]
    pairs = [(band, wanted) for band, wanted in zip(taken, spec.bands, strict=False) if band]
    return pairs, ", ".join(band or "?" for band in taken)


def _expected(spec: DatasetSpec) -> str:
    return f"{', '.join(spec.bands)} as in {spec.title}"


def _remedy(bands: Sequence[str | None], spec: DatasetSpec, count: int = 0) -> str:
    """The flag that puts bands in order, empty where not all of them are known.

    Args:
        bands: What each band is.
        spec: Facts of the network's images.
        count: Of bands; one unknown band behind the others is the one that is missing.
    """
    places = {band: number for number, band in enumerate(bands, start=1) if band}
    missing = [band for band in spec.bands if band not in places]
    if len(missing) == 1 and count == len(spec.bands) == len(places) + 1:
        places[missing[0]] = count
    elif missing == ["alpha"] and spec.alpha_band == RGB:
        missing = []
    wanted = [str(places[band]) for band in spec.bands if band in places]
    if len(wanted) < len(spec.bands) - (spec.alpha_band == RGB):
        return ""
    return f"; --bands {','.join(wanted)} takes them in that order"
