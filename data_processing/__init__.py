"""From folders of rasters to patches: data set facts, scenes, indexes, checks, sample data."""
