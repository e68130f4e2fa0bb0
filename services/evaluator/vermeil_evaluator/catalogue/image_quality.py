"""How near drawn pictures are to real ones, in the space of a small frozen classifier.

The names end in _small because the space is not Inception's: the classifier's accuracy on the real
pictures and its digest stand in the report, and numbers of different classifiers mean different things.
"""

from vermeil_evaluator.image_distances import image_distances

TASK = image_distances(
    "small",
    "image-quality",
    "FID-, KID-, precision-like numbers of samples in the space of a small frozen classifier.",
    named=lambda number: f"{number}_small",
    fix="name a classifier; for Inception there is the task inception-fid",
)
