"""Containers of images that are not one file a date: archives, addresses, granules, cubes, arrays.

Each becomes ``rasters.sources.Source``: a name, the files behind it, and how it is opened.
Which of them a series is made of, and whether they fit, is decided in own_series.
"""
