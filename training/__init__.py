"""Patches and a network to weights.

program.py sets up, loop.py goes through epochs, step.py does one batch (forward, loss, backward,
clip, step), tasks.py and losses.py say what is learnt. A run (run.py) is kept alive by the rest:
ranks, checkpoints, records, checks.
"""
