"""How many texts and pictures a call may bring."""

from vermeil_errors import InvalidInput

MAX_ITEMS = 256


def check_num_items(num_texts: int, num_images: int) -> None:
    """Refuse what is no call for a few texts and pictures."""
    if not 1 <= num_texts + num_images <= MAX_ITEMS:
        raise InvalidInput.for_field(
            "texts",
            num_texts + num_images,
            "is not a number of texts and pictures to send",
            f"send 1 to {MAX_ITEMS} together",
        )
