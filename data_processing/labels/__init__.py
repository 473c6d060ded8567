"""From what was on the ground at each date to the change moment.

The one definition is ``transitions.change_moment``.
"""
