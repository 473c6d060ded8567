"""Colours, layout and figures of maps; to files only."""
