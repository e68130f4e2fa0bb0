"""One file for each page: what it shows, and which plain function answers what people do there."""

from collections.abc import Callable

from vermeil_demo.clients import Gateway
from vermeil_demo.pages.models import add_models
from vermeil_demo.pages.reports import add_reports
from vermeil_demo.pages.search import add_search
from vermeil_demo.pages.see import add_see
from vermeil_demo.pages.studio import add_studio
from vermeil_demo.pages.training import add_training

PAGES: tuple[Callable[[Gateway], None], ...] = (
    add_studio,
    add_see,
    add_search,
    add_training,
    add_models,
    add_reports,
)
"""In the order of the tabs, behind the chat."""
