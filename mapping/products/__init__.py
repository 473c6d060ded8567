"""Change maps as files and numbers."""
