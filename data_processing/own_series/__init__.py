"""A user's own rasters of one place: which files, which dates, which bands, do they fit.

Training data (prepare_custom) and Predict read them through here, by the same rules.
"""
