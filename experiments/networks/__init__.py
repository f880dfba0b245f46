"""Real networks on real images, held against the theory.

data (images and changes of them) and architectures, objectives -> training -> runs (a folder each)
-> comparison (many runs, a table, a page). monitor measures during training, measures are of arrays
alone, theory says what the model predicts of a run, claims what runs show, drawing draws.
"""
