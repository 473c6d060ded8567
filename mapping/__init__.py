"""Images and weights to change maps.

model.py and prediction.py are the engine; scoring.py serves Test_*, area.py serves Predict.
"""
