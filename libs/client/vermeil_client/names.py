"""Names as people write them → names as the contracts do."""


def resource_name(model: str) -> str:
    """`vermeil-nano`, `vermeil-nano@3` or a full name → `models/…` as the contracts write it."""
    if model.startswith("models/"):
        return model
    name, _, version = model.partition("@")
    return f"models/{name}/versions/{version}" if version else f"models/{name}"


def full_name(collection: str, name: str) -> str:
    """`peps` → `datasets/peps`; what is a full name already stays."""
    return name if name.startswith(f"{collection}/") else f"{collection}/{name}"
