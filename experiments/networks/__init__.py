"""Real networks on real images, held against the theory.

From the ground floor up, each importing only what is below it: architectures, data (images and
changes of them), measures (of arrays alone) -> theory (what the model predicts of arrays), training
(objectives, steps, what is measured on the way) -> runs (a folder each, and the model beside them)
-> comparison (many runs: a table, claims, figures, a page).
"""
