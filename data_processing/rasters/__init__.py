"""Rasters on disk: read, write; one rule each for no-data, pixel scale, codes, grids and dates.

What a raster shows is not known here.
"""
