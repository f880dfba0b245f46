"""What is measured on a trained network, from arrays alone, in float64 NumPy.

Calibration, detection of other data, linear probes, similarity of representations, separation of
classes, sizes that a theory predicts, and the significance of differences. Where scikit-learn or
SciPy has the measure, theirs is taken.
"""
