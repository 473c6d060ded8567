"""Change maps for people: quicklook, film, page."""
