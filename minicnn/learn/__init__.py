"""`minicnn learn`: eight exercises in which the learner writes the tutorial's network in plain NumPy.
"""
