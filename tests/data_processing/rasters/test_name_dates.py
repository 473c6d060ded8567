"""Dates of names: product names of the agencies, general forms, and series read in one way."""

from __future__ import annotations

import copy
import datetime
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_processing.rasters.date_patterns import (
    FORMS,
    PRODUCTS,
    CoarseDate,
    read_name,
    shown,
    span,
)
from data_processing.rasters.name_dates import date_from_name, dates_of_names, whole_date

# File names as agencies and their tools write them (suffixes left out where nothing depends on
# them), and the day on which the image was taken.
PRODUCT_NAMES = """
OPERA_L2_RTC-S1_T064-135518-IW1_20231101T122640Z_20231102T041234Z_S1A_30_v1.0_VV.tif 2023-11-01
OPERA_L3_DSWx-HLS_T15RVQ_20230915T170001Z_20230917T012345Z_S2A_30_v1.0_B01_WTR.tif 2023-09-15
IMG_01_PNEO3_PMS-FS_202203151020123_ORT.tif 2022-03-15
WV02_20150312103045_103001003F123400_15MAR12103045-M1BS-012345678010_01_P001.tif 2015-03-12
20220315_101112_34_2485_3B_AnalyticMS_SR_8b_clip.tif 2022-03-15
2023-05-14-02-13-27_UMBRA-04_GEC.tif 2023-05-14
LC08_L2SP_199012_20150706_20200912_02_T1 2015-07-06
LC08_L2SP_199012_20150706_20200912_02_T1_SR_B4.TIF 2015-07-06
LE07_L1TP_201012_19990805_20170217_01_T1 1999-08-05
LT05_L1GS_046027_19840417_20161004_01_T2_B1.TIF 1984-04-17
LM01_L1TP_053017_19720823_20200909_02_T2 1972-08-23
LC09_L1GT_203011_20220101_20230501_02_RT 2022-01-01
LO08_L1TP_199012_20150706_20170407_01_T1 2015-07-06
lc08_l2sp_199012_20150706_20200912_02_t1_sr_b4.tif 2015-07-06
clip_LC08_L2SP_200012_20160706_20200912_02_T1.tif 2016-07-06
LC08_CU_003010_20150706_20210502_02_SR.tar 2015-07-06
LT04_AK_005006_19890501_20190613_C01_V01_SRB4.tif 1989-05-01
LC08_199012_20150706.tif 2015-07-06
LC08_203011_20150706_toa.tif 2015-07-06
1_LC08_044034_20140318.tif 2014-03-18
LANDSAT_LC08_C02_T1_L2_LC08_044034_20140318.tif 2014-03-18
LC081990122015070601T1-SC20200912101112 2015-07-06
LE071990122002070601RT-SC20180913101112_sr_band4.tif 2002-07-06
LT50460272000108PAC01 2000-04-17
LT50460272000108PAC01_B3.TIF 2000-04-17
LE71990121999217AGS01 1999-08-05
LC81990122015187LGN00_sr_band4.tif 2015-07-06
LC81990122015187-SC20150806124040.tif 2015-07-06
LM10170391976031AAA04 1976-01-31
L71199012_01220000706_B10.TIF 2000-07-06
L5046027_02720000417_B10.TIF 2000-04-17
p199r012_7dk20000706_z34_nn10.tif 2000-07-06
p046r027_5t19900417_nn4.tif 1990-04-17
S2A_OPER_PRD_MSIL1C_PDMC_20160401T145513_R008_V20160318T105507_20160318T105507.SAFE 2016-03-18
S2A_OPER_PRD_MSIL1C_PDMC_20160401T145513_R008_V20160318T105507_20160318T105507_B04.tif 2016-03-18
S2A_USER_PRD_MSIL2A_PDMC_20160405T145513_R051_V20160318T105507_20160318T105507.tif 2016-03-18
S2A_OPER_MTD_SAFL1C_PDMC_20160401T163311_R008_V20160318T105507_20160318T105507.xml 2016-03-18
S2B_OPER_MSI_L2A_DS_2BPS_20210506T112233_S20210505T100321_N03.00.tif 2021-05-05
S2A_MSIL1C_20170315T100021_N0204_R122_T33UUP_20170315T100415.SAFE 2017-03-15
S2A_MSIL2A_20200705T100031_N0214_R122_T33UUP_20200706T131502.tif 2020-07-05
S2B_MSIL2A_20210505T100321_N0300_R122_T33UUP.tif 2021-05-05
S2C_MSIL2A_20250315T100021_N0511_R122_T33UUP_20250315T141502_B04.jp2 2025-03-15
S2A_MSIL2A_20200705T100031.tif 2020-07-05
s2a_msil2a_20200705t100031_n0214_r122_t33uup_20200706t131502.tif 2020-07-05
L1C_T31TFJ_A003857_20160318T105507 2016-03-18
L2A_T33UUP_A012345_20190315T100031_TCI.tif 2019-03-15
T33UUP_20190315T100031_B04_10m.jp2 2019-03-15
T33UUP_20190315T100031_B8A_20m.tif 2019-03-15
L2A_T33UUP_20170315T100031_B04_10m.jp2 2017-03-15
T33UUP_20190315.tif 2019-03-15
20160318T105507_20160401T145513_T31TFJ.tif 2016-03-18
20190315T100031_20190315T100401_T33UUP_B4.tif 2019-03-15
S2B_33UUP_20190315_0_L2A.tif 2019-03-15
S2A_7VEG_20190315_1_L1C_B04.tif 2019-03-15
SENTINEL2A_20190315-105507-123_L2A_T31TFJ_D_V1-0_FRE_B4.tif 2019-03-15
SENTINEL2B_20180101-105435-456_L2A_T31TFJ_C_V2-2.tif 2018-01-01
S1A_IW_GRDH_1SDV_20190315T235955_20190316T000020_026345_02F283_1A2B.SAFE 2019-03-15
S1B_IW_SLC__1SDV_20180701T053525_20180701T053552_011609_015576_E5D2.zip 2018-07-01
s1a-iw-grd-vv-20190315t235955-20190316t000020-026345-02f283-001.tiff 2019-03-15
s1a-iw1-slc-vh-20190315t053525-20190315t053550-026345-02f283-001.tiff 2019-03-15
S3A_OL_1_EFR____20190315T093000_20190315T093300_20190316T120000_0179_042_307_1980_LN1_O 2019-03-15
HLS.S30.T53SMS.2019074T013701.v2.0.B04.tif 2019-03-15
HLS.L30.T11SLT.2020366T182521.v2.0.Fmask.tif 2020-12-31
HLS.S30.T53SMS.2018005.v1.4.hdf 2018-01-05
HLS_S30_T53SMS_2018005T013701.tif 2018-01-05
MOD13Q1.A2019074.h18v04.006.2019090123456.hdf 2019-03-15
MYD09GA.A2018001.h11v08.061.2021294123456.tif 2018-01-01
VNP46A2.A2019074.h18v04.001.2019090123456.tif 2019-03-15
MCD43A4_A2020060.tif 2020-02-29
MOD13Q1_2019_081.tif 2019-03-22
MOD13Q1.006__250m_16_days_NDVI_doy2019081_aid0001.tif 2019-03-22
20190315_100101_0f22_3B_AnalyticMS_SR.tif 2019-03-15
20190315_100101_12_2232_3B_AnalyticMS_SR_8b_harmonized_clip.tif 2019-03-15
20180115_103000_1003_3B_AnalyticMS.tif 2018-01-15
20190315_100101_ssc1_u0001_analytic.tif 2019-03-15
20150315_100101_3159120_RapidEye-2_3A.tif 2015-03-15
3159120_2015-03-15_RE1_3A_Analytic.tif 2015-03-15
global_monthly_2018_05_mosaic_L15-0331E-1257N_1327_3160_13.tif 2018-05
global_monthly_2018_05_mosaic_L15-0331E-1257N_1327_3160_13_Buildings.geojson 2018-05
planet_medres_normalized_analytic_2020-09_mosaic_1234-1023.tif 2020-09
ps_monthly_normalized_analytic_8b_sr_subscription_2022_07_mosaic.tif 2022-07
global_quarterly_2019q1_mosaic_1024-1234_quad.tif 2019-01 … 2019-03
IMG_PHR1A_PMS_201503151020123_ORT_1234567101-001_R1C1.TIF 2015-03-15
IMG_SPOT6_MS_201503151020123_ORT_SPOT6_20150407_1111111_R1C1.TIF 2015-03-15
IMG_SPOT7_PMS_202003151020123_ORT_C0000000012345_R1C1.TIF 2020-03-15
IMG_PNEO3_202203151020123_MS-FS_ORT_R1C1.TIF 2022-03-15
DIM_PHR1B_P_201609151020123_SEN_2012345101-2.tif 2016-09-15
50462370705151102032J.tif 2007-05-15
10462378603201102031X.tif 1986-03-20
CBERS_4_MUX_20190315_154_126_L4_BAND5.tif 2019-03-15
CBERS_4A_WPM_20200315_200_132_L4_BAND1.tif 2020-03-15
CBERS_2B_CCD1XS_20080315_157_124_L2_BAND3.tif 2008-03-15
AMAZONIA_1_WFI_20210315_217_015_L4_BAND1.tif 2021-03-15
GF1_PMS1_E116.5_N39.4_20190315_L1A0003891234-MSS1.tiff 2019-03-15
AST_L1T_00303152009102030_20150610101112_12345.hdf 2009-03-15
m_3807708_ne_18_060_20181103_20190209.tif 2018-11-03
m_3807708_sw_18_1_20120615.tif 2012-06-15
15MAR12103045-M2AS-012345678010_01_P001.TIF 2015-03-12
ENMAP01-____L2A-DT0000001234_20220615T102030Z_001_V010400_20220621T112233Z-QL_VNIR.TIF 2022-06-15
DESIS-HSI-L2A-DT0123456789_001-20190315T102030-V0210-SPECTRAL_IMAGE.tif 2019-03-15
c_gls_NDVI300_201903110000_GLOBE_PROBAV_V1.0.1.tif 2019-03-11
PROBAV_S10_TOC_X18Y02_20190311_100M_V101.tif 2019-03-11
VENUS-XS_20190315-103012-000_L2A_SUDOUE-1_C_V2-2.tif 2019-03-15
WV02_20150315103045_103001003D123400_15MAR15103045-M1BS.tif 2015-03-15
K3_20190315102030_12345_00112233_L1R.tif 2019-03-15
"""

# Names that people write.
GENERAL_NAMES = """
15.März.2019.tif 2019-03-15
15_Okt_2019.tif 2019-10-15
15Dez2019.tif 2019-12-15
2019-Mai-15.tif 2019-05-15
15_août_2019.tif 2019-08-15
Ortho_Juli2019.tif 2019-07
2019_febrero.tif 2019-02
2019年3月15日.tif 2019-03-15
dop10_2015.tif 2015
20180115.tif 2018-01-15
2018-01-15.tif 2018-01-15
2018_01_15.tif 2018-01-15
2018.01.15.tif 2018-01-15
city 2018 01 15.tif 2018-01-15
2019-3-5.tif 2019-03-05
city_2019_3_15_ndvi.tif 2019-03-15
201903151001.tif 2019-03-15
20190315100101.tif 2019-03-15
20190315100101123.tif 2019-03-15
2019-03-15T10-01-01Z.tif 2019-03-15
20190315T100101.tif 2019-03-15
city_20190315-0000000000-0000023296.tif 2019-03-15
tile_2048_10_20200115.tif 2020-01-15
tile_1990_12_20200115.tif 2020-01-15
path199012_2015-07-06.tif 2015-07-06
200012_20160706.tif 2016-07-06
S2_15-03-2015_10m.tif 2015-03-15
15-03-2019_12h30.tif 2019-03-15
L8_15_03_2019.tif 2019-03-15
15.3.2019.tif 2019-03-15
15032019.tif 2019-03-15
03-15-2019.tif 2019-03-15
15mar2019.tif 2019-03-15
15-March-2019.tif 2019-03-15
2019Mar15.tif 2019-03-15
2019-dec-01_b.tif 2019-12-01
2019074.tif 2019-03-15
ndvi_2019-074.tif 2019-03-15
2020366.tif 2020-12-31
2018_01.tif 2018-01
201801.tif 2018-01
2018-01_something.tif 2018-01
2018_01_10m.tif 2018-01
city_2019-05_20cm.tif 2019-05
2018_05_4bands.tif 2018-05
L15-0331E-1257N_1327_3160_13_2018_05.tif 2018-05
some/folder_2001_01/2019_12.tif 2019-12
..\\2001_01\\2019_12.tif 2019-12
1311_3077_13_10N-2018_01_01.tif 2018-01-01
Mar2019.tif 2019-03
2019_june.tif 2019-06
city_03-2019.tif 2019-03
990315.tif 1999-03-15
March_15_2019.tif 2019-03-15
composite_2019_Q1.tif 2019-01 … 2019-03
L8_199012_2015.tif 2015
LE07_201012_2018_05.tif 2018-05
landsat8_201805.tif 2018-05
CORONA_1965-07-12.tif 1965-07-12
city_2019.tif 2019
ortho2015.tif 2015
S2_2019.tif 2019
2015_10m.tif 2015
été_2019-03-15.tif 2019-03-15
都市2019-03-15.tif 2019-03-15
"""


def rows(table: str) -> list[tuple[str, str]]:
    """Name and date of each line; names hold spaces at most before their last word."""
    names = []
    for line in table.strip().splitlines():
        name, _, date = line.partition(" … ")[0].rpartition(" ")
        names.append((name, line[len(name) + 1 :] if " … " in line else date))
    return names


@pytest.mark.parametrize(("name", "date"), rows(PRODUCT_NAMES) + rows(GENERAL_NAMES))
def test_a_name_is_read_as_its_author_meant_it(name: str, date: str) -> None:
    reading = dates_of_names([name])

    assert reading.faults == ()
    assert reading.dates[0] is not None
    assert shown(reading.dates[0]) == date


def test_the_examples_of_the_tables_are_read_by_their_own_line() -> None:
    for pattern in (*PRODUCTS, *FORMS):
        for example in pattern.example.split(", "):
            reading = read_name(f"{example}.tif")
            assert pattern.name in reading.dates or pattern.name in reading.faults[0]


@pytest.mark.parametrize(
    "name",
    [
        "bi_change.tif",
        "L15-0331E-1257N_1327_3160_13.tif",
        "2018_13.tif",
        "1979_05.tif",
        "12345.tif",
        "tile_2048_10.tif",  # no month of the future
        "tile_2048_1_2.tif",
        "2019_06_45.tif",  # a month, or a day mistyped
        "2019-13-01.tif",
        "city_2019_001.tif",  # a number that counts
        "201203154567.tif",  # 45:67 is no time
        "S2_2019m.tif",
        "199045.tif",
        "201131.tif",
        "LT05_199012.tif",  # path and row
        "l8_201012.tif",
        "landsat_201012_b4.tif",
        "2019-W12.tif",
        "0000000000-0000023296.tif",
        "٢٠١٩-٠٣-١٥.tif",
        "marsh_2.tif",
        "1" * 250 + ".tif",
    ],
)
def test_implausible_numbers_are_no_date(name: str) -> None:
    reading = dates_of_names([name])
    assert (reading.dates, reading.faults) == ((None,), ())


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("2019-02-30.tif", "2019-02-30"),
        ("2018_02_30.tif", "2018-02-30"),
        ("20190230.tif", "2019-02-30"),
        ("city_201902301000.tif", "2019-02-30"),
        ("31-04-2019.tif", "2019-04-31"),
        ("2019366.tif", "2019-366"),
        ("S2A_MSIL2A_20190230T100031_N0214_R122_T33UUP_20200706T131502.tif", "2019-02-30"),
        ("LC08_L2SP_199012_20150631_20200912_02_T1.tif", "2015-06-31"),
        ("LC08_L2SP_199012_20151301_20200912_02_T1.tif", "2015-13-01"),
        ("global_monthly_2018_13_mosaic_L15.tif", "2018-13"),
    ],
)
def test_a_day_that_does_not_exist_is_refused_and_no_other_taken(name: str, day: str) -> None:
    (fault,) = dates_of_names([name]).faults
    assert fault.startswith(f"{name}: found {day}, a day that does not exist")
    assert date_from_name(name) is None


def test_old_granules_of_sentinel_2_hold_no_time_of_sensing() -> None:
    name = "S2A_OPER_MSI_L1C_TL_SGS__20160318T163311_A003857_T31TFJ_B02.tif"
    (fault,) = dates_of_names([name]).faults
    assert "the time of processing only" in fault


# ────────────────────────────────────────── series ──────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "both"),
    [
        (["05-03-2019.tif", "06-03-2019.tif"],
         "2019-03-05 (day-month-year) and 2019-05-03 (month-day-year)"),
        (["a_20190315_20200101.tif"], "2019-03-15 (year-month-day) and 2020-01-01"),
        (["mosaic_2019-01-01_2019-01-31.tif"], "2019-01-01"),
        (["200105.tif", "200206.tif"], "2001-05 (year-month)"),
        (["200105.tif", "200206.tif"], "2020-01-05 (yymmdd)"),
        (["190315.tif", "190415.tif"], "2015-03-19 (ddmmyy) and 2019-03-15 (yymmdd)"),
        (["15_03_2019_12_30.tif"], "2019-03-15 (day-month-year) and 2019-12-30 (year-month-day)"),
        (["2018-05_2018-06.tif"], "2018-05 (year-month) and 2018-06"),
        (["S2A_MSIL2A_20200705T100031_S2B_MSIL2A_20210705T100031.tif"], "2020-07-05"),
    ],
)  # fmt: skip
def test_two_readings_that_differ_are_refused_with_both(names: list[str], both: str) -> None:
    reading = dates_of_names(names)
    assert set(reading.dates) == {None}
    assert len(reading.faults) == len(names)
    assert reading.faults[0].startswith(f"{names[0]}: found ")
    assert both in reading.faults[0]


@pytest.mark.parametrize(
    ("names", "dates"),
    [
        # one name that only one form fits decides for all
        (["05-03-2019.tif", "15-03-2019.tif"], ["2019-03-05", "2019-03-15"]),
        (["03-05-2019.tif", "03-15-2019.tif"], ["2019-03-05", "2019-03-15"]),
        (["201012.tif", "201301.tif"], ["2010-12", "2013-01"]),
        # products of several agencies, days beside them, separators
        (["LC08_L2SP_199012_20150706_20200912_02_T1.tif", "LT50460272000108PAC01.tif",
          "T33UUP_20190315T100031_B04.tif", "city_2020-01-02.tif"],
         ["2015-07-06", "2000-04-17", "2019-03-15", "2020-01-02"]),
        (["city_20200115.tif", "city-2020-03-01.tif"], ["2020-01-15", "2020-03-01"]),
        # scenes of the same place from several paths
        ([f"LC08_{row}_2015070{k}.tif" for k, row in enumerate(("203011", "199012"), 1)],
         ["2015-07-01", "2015-07-02"]),
        (["2015.tif", "2016.tif"], ["2015", "2016"]),
    ],
)  # fmt: skip
def test_a_series_is_read_in_one_way(names: list[str], dates: list[str]) -> None:
    reading = dates_of_names(names)
    assert reading.faults == ()
    assert [shown(date) for date in reading.dates if date is not None] == dates


@pytest.mark.parametrize(
    "names",
    [
        ["tile_2016_11.tif", "tile_2016_10_20200115.tif"],
        ["2018_01.tif", "2018-05-20.tif"],
        ["S2A_MSIL2A_20200705T100031.tif", "2020-08.tif"],
        ["2019074.tif", "20190415.tif"],
        ["15-03-2019.tif", "2019-04-15.tif"],
        ["2018_01.tif", "03-2018.tif"],
    ],
)
def test_names_that_go_different_ways_are_refused(names: list[str]) -> None:
    reading = dates_of_names(names)
    assert set(reading.dates) == {None}
    assert "expected a date as in" in reading.faults[0]


def test_a_name_without_any_date_leaves_the_others_theirs() -> None:
    assert dates_of_names(["2020-01-15.tif", "second.tif"]).dates[1] is None
    assert dates_of_names(["2020-01-15.tif", "second.tif"]).dates[0] is not None


def test_a_year_alone_counts_where_all_names_have_only_that() -> None:
    assert dates_of_names(["city_2019.tif", "city_new.tif"]).dates == (None, None)
    mixed = dates_of_names(["city_2019.tif", "city_2020-01-15.tif"])
    assert mixed.dates == (None, datetime.date(2020, 1, 15))


# ────────────────────────────────────── forms and numbers ──────────────────────────────────────

DAYS = st.dates(datetime.date(1980, 1, 1), datetime.date(2026, 12, 31))
AROUND = st.text("abcXYZ_- é都", max_size=12)
UNMISTAKABLE = (
    "%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d", "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y-%b-%d",
    "%Y%m%d%H%M", "%d%b%Y",
)  # fmt: skip


@given(DAYS, st.sampled_from(UNMISTAKABLE), AROUND, AROUND)
def test_a_full_date_is_found_among_any_words(
    day: datetime.date, form: str, before: str, after: str
) -> None:
    midday = datetime.datetime.combine(day, datetime.time(12, 30))
    assert date_from_name(f"{before}_{midday:{form}}_{after}.tif") == day


@given(st.lists(DAYS, min_size=1, max_size=9), st.sampled_from(("%d-%m-%Y", "%d%m%Y", "%m_%d_%Y")))
def test_days_and_months_are_never_swapped_in_silence(days: list[datetime.date], form: str) -> None:
    reading = dates_of_names([f"{day:{form}}.tif" for day in days])
    assert reading.faults or list(reading.dates) == days


@given(st.lists(st.text("0123456789_-.T", max_size=40), min_size=1, max_size=4))
def test_whatever_the_numbers_a_reading_is_dates_or_faults(names: list[str]) -> None:
    reading = dates_of_names(names)
    assert len(reading.dates) == len(names)
    assert not (reading.faults and any(reading.dates))
    for date in reading.dates:
        assert date is None or 1900 <= date.year <= 2100


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    dates_of_names([text])
    whole_date(text)


# ─────────────────────────────────── months, years, texts ───────────────────────────────────


def test_a_month_stands_at_its_first_day_and_knows_its_last() -> None:
    month = CoarseDate.months(2020, 2)
    assert month == datetime.date(2020, 2, 1)
    assert span(month) == (datetime.date(2020, 2, 1), datetime.date(2020, 2, 29))
    assert span(CoarseDate.months(2019, 12))[1] == datetime.date(2019, 12, 31)
    assert span(datetime.date(2020, 2, 3)) == (datetime.date(2020, 2, 3),) * 2
    for other in (pickle.loads(pickle.dumps(month)), copy.deepcopy(month)):
        assert span(other) == span(month)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2020-01-15", "2020-01-15"),
        (" 20200115 ", "2020-01-15"),
        ("2020-01", "2020-01"),
        ("202001", "2020-01"),
        ("2020/01/15", "2020-01-15"),
        ("2020-01-15T10:11:12.5Z", "2020-01-15"),
        ("2020-01-15 10:11:12", "2020-01-15"),
    ],
)
def test_a_text_may_be_a_date(text: str, date: str) -> None:
    found = whole_date(text)
    assert found is not None
    assert shown(found) == date


@pytest.mark.parametrize(
    "text",
    ["", "2020", "2020-02-30", "2020-13", "2020-00", "2020-1-5", "9999-01-01", "x2020-01-15",
     "2020-01-15x", "0000-00-00 00:00:00", "9" * 400, "inf", "٢٠١٩-٠٣-١٥"],
)  # fmt: skip
def test_other_texts_are_no_dates(text: str) -> None:
    assert whole_date(text) is None


def test_a_year_is_a_date_where_years_are_asked_for() -> None:
    year = whole_date("2020", years=True)
    assert year is not None
    assert shown(year) == "2020"
