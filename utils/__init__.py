"""Everything around the networks: losses, metrics, training, scoring, files, pictures.

Each module has one job that its name tells. Nothing here reads a data set's folders
(see ``data_processing``), and of the networks only the interface in ``models`` is used.
"""
