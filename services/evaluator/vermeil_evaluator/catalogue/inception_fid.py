"""How near drawn pictures are to real ones, in the space of the Inception network that FID is defined by.

Numbers may be called Inception FID if the judge's weights are the standard ones, which its line in the
report says. They fall with the number of samples: compare only numbers of as many.
"""

from vermeil_evaluator.image_distances import image_distances

TASK = image_distances(
    "inception",
    "inception-fid",
    "Inception FID, KID, precision and recall of samples; needs the standard weights.",
    named=lambda number: f"inception_{number}",
    fix="name a folder that `python -m vermeil_evaluator inception WEIGHTS FOLDER` wrote",
)
