"""Networks made only to be given weights: nothing is drawn, and memory that nobody fills costs none.

Unusual: not on torch's device "meta". To make an embedding there, torch loads its compiler and sympy, some
900 modules, which took whatever loaded its first model 7 s of a processor and 160 MiB for good.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

_FILLS = frozenset(name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_"))
"""Of torch.nn.init; the methods of tensors that they call are named alike."""


class unfilled(TorchFunctionMode):
    """While it lasts, whatever would fill a tensor at random leaves it as it is."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every call of torch comes through here."""
        named = kwargs or {}
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
