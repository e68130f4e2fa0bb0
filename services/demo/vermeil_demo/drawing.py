"""Pictures on their way from noise: the events of a drawing → what the page shows after each."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass, field

from vermeil_client import DrawingProgress, Picture

from vermeil_demo.markup import bar, data_url, escaped


@dataclass
class Drawing:
    """A set of pictures, some of them unfinished."""

    prompt: str
    """What they show."""
    pictures: dict[int, Picture] = field(default_factory=dict)
    """The newest look at each, by its place."""
    done: float = 0.0
    """How much of all steps is done, 0 to 1."""
    count: int = 0
    """How many there will be; those that have not shown yet keep their place."""

    def add(self, event: DrawingProgress | Picture) -> None:
        """Take in what the gateway told."""
        if isinstance(event, Picture):
            self.pictures[event.index] = event
        elif event.steps_total:
            self.done = event.steps_done / event.steps_total

    @property
    def finished(self) -> bool:
        """Whether every picture there is has left its noise behind."""
        return bool(self.pictures) and all(each.preview is None for each in self.pictures.values())

    def as_html(self) -> str:
        """The grid, under a bar while it is drawn; a click on a picture saves it."""
        above = _NO_BAR if self.finished else bar(self.done, "Drawing")
        waiting = _WAITING * max(0, self.count - len(self.pictures))
        return f"{above}{picture_grid(self._entries(), waiting)}"

    def told(self) -> str:
        """One line for those who cannot see the grid."""
        if not self.finished:
            return f"Drawing, {self.done:.0%} of the steps done"
        first = self.pictures[min(self.pictures)].seed
        count = len(self.pictures)
        return f"{count} picture{'s' if count > 1 else ''} · seed {first} draws them again"

    def _entries(self) -> "Iterable[GridEntry]":
        what = self.prompt or "the model's own choice"
        for index, picture in sorted(self.pictures.items()):
            state = "" if picture.preview is None else ", still noisy"
            yield GridEntry(picture.png, f"{what}, number {index + 1}{state}", f"seed {picture.seed}")


@dataclass(frozen=True)
class GridEntry:
    """A picture of a grid."""

    png: bytes
    """The file."""
    words: str
    """What it shows, for those who cannot see it; also the name of the saved file."""
    caption: str = ""
    """What stands below it."""


_NO_BAR = '<div class="vermeil-bar done" aria-hidden="true"></div>'
"""Keeps the place of the bar, so that nothing moves at the end."""
_WAITING = '<figure class="waiting" aria-hidden="true"><div></div><figcaption>&nbsp;</figcaption></figure>'


def picture_grid(entries: Iterable[GridEntry], waiting: str = "") -> str:
    """Pictures side by side; each can be saved with a click or the Enter key."""
    shown = "".join(_figure(entry) for entry in entries)
    return f'<div class="vermeil-grid">{shown}{waiting}</div>'


async def looks(
    prompt: str, events: AsyncIterable[DrawingProgress | Picture], count: int = 0
) -> AsyncGenerator[tuple[str, str], None]:
    """The grid of so many pictures and its line, at once and after each event."""
    drawing = Drawing(prompt, count=count)
    yield drawing.as_html(), drawing.told()
    async for event in events:
        drawing.add(event)
        yield drawing.as_html(), drawing.told()


def _figure(entry: GridEntry) -> str:
    url, words = data_url(entry.png), escaped(entry.words)
    caption = f"<figcaption>{escaped(entry.caption)}</figcaption>" if entry.caption else ""
    name = escaped(f"{entry.words[:60].replace('/', '-')}.png")
    return (
        f'<figure><a href="{url}" download="{name}" title="Save">'
        f'<img src="{url}" alt="{words}"></a>{caption}</figure>'
    )
