"""What is measured on a trained network, from arrays alone, in float64 NumPy.

Calibration, detection of other data, linear probes, similarity of representations, separation of
classes, agreement of predictions and the significance of differences.
"""
