"""The different captions of a split, and whose they are."""

from vermeil_data import EncodedImages


def captions_of(
    encoded: EncodedImages, split: str, num_images: int, most_tokens: int
) -> tuple[list[list[int]], list[set[int]]]:
    """Token ids of every different caption of the first pictures, and the pictures it is said of."""
    captions = encoded.captions(split)
    owners: dict[tuple[int, ...], set[int]] = {}
    for index in range(min(num_images, encoded.num_images(split))):
        for ids in captions.of(index):
            owners.setdefault(tuple(ids[:most_tokens].tolist()), set()).add(index)
    return [list(ids) for ids in owners], list(owners.values())
