"""Seeded inputs that nobody means: damaged bytes, absurd values, files that are something else."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

__all__ = [
    "TEXTS",
    "absurd",
    "damaged",
    "odd_json",
    "other_formats",
    "sidecars",
    "tensors",
    "tiff_tags",
]

Random = np.random.Generator

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 0.5, -0.0, 1e308, 10**18, 2**63, 2**64 - 1, "", " ", ".", "..",
    "nan",
    "../victim", "/etc/passwd", "=1+1", "a\nb\x1b[31m", "x" * 5000, "\u2028", "９", "1e400",
    [], {}, [[]], [1, "a"], [None], {"a": {}}, {"": []}, [1e308, -1e308], ["../victim", "b"],
    "https://localhost:1/a", "con", "test", [0] * 1000,
)  # fmt: skip
TEXTS = (
    b"", b"{}", b"[]", b"null", b"1", b'"a"', b"{", b"[" * 100_000, b'{"a":' * 2000 + b"1"
    + b"}" * 2000,
    b'{"a": NaN}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1e999}', b"\xff\xfe{\x00}\x00",
    b"\x00" * 64,
    b"a: &a [*a]", b"a: &a [1]\nb: [*a, *a]", b"!!python/object/apply:os.system ['true']",
    b"a: " + b"9" * 5000,
    b"? [1]\n: 2", b"1: 2", b"a: 1\na: 2", b"- 1\n- 2", b"a: 2001-02-30", b"a: 0x" + b"f" * 5000,
    b"\t",
    b"%YAML 9.9\n---\na: 1", b"<html><body>login</body></html>", b"a: !!binary aGk=", b"a: 1:"
    + b"59:" * 500,
)  # fmt: skip


def damaged(rng: Random, content: bytes) -> bytes:
    """A file's bytes as disks, downloads and attackers change them."""
    data = bytearray(content)
    place = int(rng.integers(len(data)))
    kind = int(rng.integers(6))
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        for at in rng.integers(len(data), size=int(rng.integers(1, 9))):
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        data[place : place + 16] = bytes(16)
    elif kind == 3:
        data[place : place + 4] = b"\xff\xff\xff" + bytes([int(rng.integers(256))])
    elif kind == 4:
        data[place:place] = rng.bytes(int(rng.integers(1, 40)))
    else:
        del data[place : place + int(rng.integers(1, 40))]
    return bytes(data)


def absurd(rng: Random, value: Any) -> Any:
    """A copy of plain values in which one, anywhere in it, is another than is meant."""
    value = deepcopy(value)
    places = list(_places(value))
    holder, key = places[int(rng.integers(len(places)))]
    chosen = VALUES[int(rng.integers(len(VALUES)))]
    if isinstance(holder, dict) and rng.random() < 0.15:
        del holder[key]
    elif isinstance(holder, dict) and rng.random() < 0.1:
        holder[str(chosen)] = holder.pop(key)
    elif rng.random() < 0.1:
        holder[key] = [holder[key]]
    else:
        holder[key] = deepcopy(chosen)
    return value


def odd_json(rng: Random, value: Any) -> bytes:
    """A JSON file that is not what its program wrote."""
    draw = rng.random()
    if draw < 0.15:
        return TEXTS[int(rng.integers(len(TEXTS)))]
    if draw < 0.3:
        return damaged(rng, json.dumps(value).encode())
    return json.dumps(absurd(rng, value)).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value inside dicts and lists, as holder and key."""
    keys = value.keys() if isinstance(value, Mapping) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def tiff_tags(rng: Random, content: bytes) -> bytes:
    """A little-endian TIFF whose first directory has one or two absurd entries."""
    data = bytearray(content)
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    for _ in range(int(rng.integers(1, 3))):
        entry = start + 2 + 12 * int(rng.integers(count))
        part, form = ((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"))[int(rng.integers(4))]
        limit = 256 ** struct.calcsize(form) - 1
        odd = (0, 1, 2, 255, 65535, limit, limit >> 1, (limit >> 1) + 1, len(data), 274, 32768)
        struct.pack_into(form, data, entry + part, odd[int(rng.integers(len(odd)))] & limit)
    return bytes(data)


def other_formats(address: str, secret: str) -> dict[str, bytes]:
    """Files that are something else by content, by what they are; GDAL knows most of them.

    Args:
        address: Where a server would be asked, http://host:port.
        secret: Path of a raster that no output may show.
    """
    size = 'rasterXSize="16" rasterYSize="16"'
    band = '<VRTRasterBand dataType="UInt16" band="{}">{}</VRTRasterBand>'
    source = (
        "<SimpleSource><SourceFilename>{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
    )
    raw = (
        f"<SourceFilename>{secret}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1"
        "</PixelOffset><LineOffset>16</LineOffset>"
    )

    def vrt(inner: str) -> bytes:
        bands = "".join(band.format(number, inner) for number in range(1, 5))
        return f"<VRTDataset {size}>{bands}</VRTDataset>".encode()

    raw_vrt = vrt(raw).replace(b' band="', b' subClass="VRTRawRasterBand" band="')
    window = "<DataWindow><SizeX>16</SizeX><SizeY>16</SizeY></DataWindow><BandsCount>4</BandsCount>"
    server = f'<Service name="TMS"><ServerUrl>{address}/${{x}}</ServerUrl></Service>'
    return {
        "VRT": vrt(source.format(secret)),
        "VRT of an address": vrt(source.format(f"/vsicurl/{address}/a.tif")),
        "VRT after a comment": b"<?xml version='1.0'?><!-- a --> " + vrt(source.format(secret)),
        "VRT of raw bytes": raw_vrt,
        "VRT of a pipe": vrt(source.format("/vsistdin/")),
        "WMS": f"<GDAL_WMS>{server}{window}</GDAL_WMS>".encode(),
        "WMTS": b"<GDAL_WMTS><GetCapabilitiesUrl>" + address.encode() + b"/wmts"
                b"</GetCapabilitiesUrl></GDAL_WMTS>",
        "WCS": f"<WCS_GDAL><ServiceURL>{address}/wcs?</ServiceURL></WCS_GDAL>".encode(),
        "tile index": b"<GDALTileIndexDataset><IndexDataset>" + secret.encode() +
                      b"</IndexDataset></GDALTileIndexDataset>",
        "STAC": json.dumps({"type": "FeatureCollection", "features": [{
            "type": "Feature", "stac_version": "1.0.0",
            "assets": {"a": {"href": f"{address}/a.tif"}},
        }]}).encode(),
        "STACTA": json.dumps({"tiled_assets": True, "links": [{"href": address}]}).encode(),
        "TileJSON": json.dumps({"tilejson": "2.0", "tiles": [f"{address}/{{z}}"]}).encode(),
        **_broken(secret.encode()),
    }  # fmt: skip


def _broken(secret: bytes) -> dict[str, bytes]:
    """Files of formats that hold pixels, without any, and of some that GDAL does not know."""
    return {
        "PDS": b"PDS_VERSION_ID = PDS3\n^IMAGE = \"" + secret + b"\"\n",
        "ISIS": b"Object = IsisCube\n  Object = Core\n  ^Core = " + secret + b"\n",
        "ENVI": b"ENVI\nsamples = 16\nlines = 16\nbands = 4\n",
        "DOQ": b"BEGIN_USGS_DOQ_HEADER\n",
        "ASCII grid": b"ncols 16\nnrows 16\nxllcorner 0\nyllcorner 0\ncellsize 1\n" + b"1 " * 256,
        "XPM": b"/* XPM */\nstatic char *a[] = {\"1 1 1 1\",\"a c #000000\",\"a\"};",
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(88),
        "netCDF": b"CDF\x01" + bytes(60),
        "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40),
        "PostScript": b"%!PS-Adobe-3.0\n",
        "DERIVED": b'DERIVED_SUBDATASET:LOGAMPLITUDE:' + secret,
        "SQLite": b"SQLite format 3\x00" + bytes(100),
        "zip": b"PK\x03\x04" + bytes(60),
        "gzip": b"\x1f\x8b\x08" + bytes(40),
        "PDF": b"%PDF-1.7\n",
        "page": b"<!DOCTYPE html><html></html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "nothing": b"",
        "zeros": bytes(4096),
        "text": b"II*\x00",
        "BigTIFF": b"II+\x00\x08\x00\x00\x00" + b"\xff" * 8,
        "PNG": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x10\x06",
        "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**30, -(2**30), 1, 24,
        0, 0, 0, 0, 0, 0),
        "JPEG": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03",
    }  # fmt: skip


def sidecars(name: str, address: str, secret: str) -> dict[str, bytes]:
    """Files beside a raster that GDAL reads with it, by their names; most lead elsewhere."""
    pam = "<PAMDataset>{}</PAMDataset>"
    meta = '<Metadata{}><MDI key="{}">{}</MDI></Metadata>'
    others = other_formats(address, secret)
    stem = name.rpartition(".")[0]
    wrong = {
        "nan": "<GeoTransform>nan, 1, 0, 0, 0, -1</GeoTransform>",
        "huge": "<GeoTransform>1e300, 1e300, 0, 0, 0, -1</GeoTransform>",
        "flat": "<GeoTransform>0, 0, 0, 0, 0, 0</GeoTransform>",
        "words": "<GeoTransform>a, b</GeoTransform>",
        "system": f"<SRS>{address}/epsg</SRS>",
        "grid": "<SRS>+proj=longlat +nadgrids=@" + address + " +no_defs</SRS>",
        "old": "<SRS>LOCAL_CS[&quot;x&quot;]</SRS>",
        "overview": meta.format(' domain="OVERVIEWS"', "OVERVIEW_FILE", f"/vsicurl/{address}/a"),
        "orientation": meta.format("", "EXIF_Orientation", "9" * 5000),
        "signs": meta.format("", "EXIF_Orientation", "٣"),
        "date": meta.format("", "TIFFTAG_DATETIME", "9" * 5000),
        "sensing": meta.format("", "SENSING_TIME", "2018-99-99T99:99:99Z"),
        "acquisition": meta.format(' domain="IMAGERY"', "ACQUISITIONDATETIME", "\u2028"),
        "points": '<GCPList Projection="x"><GCP Pixel="nan" Line="1e400" X="a" Y="b"/></GCPList>',
        "rational": meta.format(' domain="RPC"', "LINE_OFF", "nan"),
        "entities": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "names": '<PAMRasterBand band="1"><Description>=1+1\x1b[31m</Description></PAMRasterBand>',
        "empty": '<PAMRasterBand band="1"><NoDataValue>nan</NoDataValue></PAMRasterBand>',
        "no number": '<PAMRasterBand band="1"><NoDataValue>x</NoDataValue></PAMRasterBand>',
        "scale": '<PAMRasterBand band="1"><Offset>nan</Offset><Scale>1e400</Scale></PAMRasterBand>',
        "colours": '<PAMRasterBand band="1"><ColorInterp>Palette</ColorInterp></PAMRasterBand>',
        "band": '<PAMRasterBand band="99999999999"><Scale>2</Scale></PAMRasterBand>',
        "mask": meta.format(' domain="DERIVED"', "MASK_FILE", secret),
    }  # fmt: skip
    pams = {f"{name}.aux.xml {what}": pam.format(text).encode() for what, text in wrong.items()}
    latin = pam.format(meta.format("", "TIFFTAG_IMAGEDESCRIPTION", "X")).encode()
    return pams | {
        f"{name}.aux.xml latin": latin.replace(b"X", b"\xe9\xff"),
        f"{name}.aux.xml binary": bytes(range(256)),
        f"{name}.msk": others["VRT"],
        f"{name}.msk WMS": others["WMS"],
        f"{name}.msk STAC": others["STAC"],
        f"{name}.msk zeros": bytes(300),
        f"{name}.ovr": others["WMS"],
        f"{name}.ovr VRT": others["VRT of an address"],
        f"{stem}.tfw": b"nan\n0\n0\nnan\n1e400\n-1e400\n",
        f"{stem}.tfw short": b"1\n",
        f"{stem}.wld": b"9" * 5000,
        f"{stem}.tab": b"!table\n" + secret.encode(),
        f"{stem}.prj": address.encode(),
        f"{stem}.xml": b"<isd><IMD><IMAGE><SATID>QB02</SATID></IMAGE></IMD></isd>",
        f"{stem}.IMD": b"BEGIN_GROUP = IMAGE_1\nsatId = \"QB02\";\nfirstLineTime = 9;\nEND;",
        f"{stem}.RPB": b"satId = \"QB02\";\nBEGIN_GROUP = IMAGE\nlineOffset = nan;\nEND;",
        f"{stem}_rpc.txt": b"LINE_OFF: nan\n" * 100,
        f"{stem}_MTL.txt": b"GROUP = L1_METADATA_FILE\n" + secret.encode(),
    }  # fmt: skip


def tensors(rng: Random, sound: Any) -> Callable[[], Any]:
    """Odd tensors in place of one of a network, made when they are asked for."""
    import torch

    shape = tuple(sound.shape)
    made: tuple[Callable[[], Any], ...] = (
        lambda: torch.full(shape, float("nan")),
        lambda: torch.full(shape, float("inf")),
        lambda: torch.ones(shape, dtype=torch.int64),
        lambda: torch.ones(shape, dtype=torch.bool),
        lambda: torch.ones(shape, dtype=torch.complex64),
        lambda: torch.ones(shape, dtype=torch.float8_e4m3fn),
        lambda: torch.full(shape, 1e308, dtype=torch.float64),
        lambda: torch.zeros(()),
        lambda: torch.zeros((0,)),
        lambda: torch.zeros((*shape, 1)),
        lambda: torch.zeros(1).expand(1 << 31),
        lambda: torch.zeros(1).expand(shape),
        lambda: torch.ones(shape).to_sparse(),
        lambda: torch.ones(shape, device="meta"),
        lambda: torch.quantize_per_tensor(torch.ones(shape), 1.0, 0, torch.qint8),
        lambda: VALUES[int(rng.integers(len(VALUES)))],
    )
    return made[int(rng.integers(len(made)))]
