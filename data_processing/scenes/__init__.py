"""The processed layout, Images_<name>/<split>/<scene>, and patches of it.

Read spec.py, scene.py, dataset.py in this order.
"""
