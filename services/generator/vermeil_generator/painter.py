"""One model of images at work: a thread that draws what is ordered, one batch after the other.

Pictures of several requests are drawn together where they share steps, guidance and solver. Callers live
in event loops; what there is to tell goes back through the caller's loop.
Knows nothing of gRPC, of files of pictures, or how models are loaded.
"""

import asyncio
import math
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from vermeil_errors import Internal, Overloaded, Unavailable, VermeilError
from vermeil_media import Pixels
from vermeil_telemetry import gauge, get_logger

from vermeil_generator.image_order import ImageOrder, Style, Wish
from vermeil_generator.patience import Patience
from vermeil_generator.sampler import Drawing, NobodyWaitsError, Step

SECONDS_BETWEEN_PROGRESS = 0.05
"""A message for every step would cost more than a small model's step."""

_active = gauge("generator_drawing", "Pictures being drawn", ["model"])
_logger = get_logger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far all pictures of an order are."""

    steps_done: int
    steps_total: int


@dataclass(frozen=True)
class Picture:
    """A picture, or how it looks on its way."""

    index: int
    """Which of the order's."""
    pixels: Pixels
    seed: int
    preview: int | None = None
    """Which preview of it this is; None for the picture itself."""


ImageEvent = Progress | Picture


class _Commission:
    """An order and whoever waits for it; made in the event loop of the latter."""

    def __init__(self, order: ImageOrder) -> None:
        self.order = order
        self.queue: asyncio.Queue[ImageEvent | Exception] = asyncio.Queue()
        self.is_cancelled = False
        """Set from outside when nobody waits any more."""
        self.steps_done = 0
        self._loop = asyncio.get_running_loop()
        self._last_told = 0.0

    def send(self, item: ImageEvent | Exception) -> None:
        """Hand over to the one who waits."""
        with suppress(RuntimeError):  # a loop that is closed has nobody who waits
            self._loop.call_soon_threadsafe(self.queue.put_nowait, item)

    def tell_progress(self) -> None:
        """Say how far it is, unless that was said a moment ago; the end is always said."""
        now, total = monotonic(), self.order.steps_total
        if now - self._last_told >= SECONDS_BETWEEN_PROGRESS or self.steps_done == total:
            self._last_told = now
            self.send(Progress(self.steps_done, total))


@dataclass(frozen=True)
class _Place:
    """One picture in the queue or in a batch."""

    commission: _Commission
    index: int

    @property
    def wish(self) -> Wish:
        return self.commission.order.wishes[self.index]


class Painter:
    """Draws pictures, several at once.

    Args:
        name: Of the model, for people.
        drawing: The network.
        max_batch: Pictures drawn together.
        max_waiting: Pictures that may wait, those that enter the next batch among them.
        patience: How long they may have to.
    """

    def __init__(
        self, name: str, drawing: Drawing, max_batch: int, max_waiting: int, patience: Patience
    ) -> None:
        self._drawing = drawing
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._patience = patience
        self._waiting: deque[_Place] = deque()
        self._batch: list[_Place] = []
        self._batch_since = 0.0
        self._changed = threading.Condition()
        self._is_closed = False
        self._active = _active.labels(name)
        self._thread = threading.Thread(target=self._run, name=f"painter {name}", daemon=True)
        self._thread.start()

    @property
    def num_active(self) -> int:
        """Pictures being drawn or waiting."""
        return len(self._batch) + len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether it can take orders."""
        return self._thread.is_alive()

    async def draw(self, order: ImageOrder) -> AsyncGenerator[ImageEvent, None]:
        """Progress (at once), previews and pictures of an order; closing the generator stops the work.

        Raises:
            Overloaded: Too many pictures wait already, or for too long.
            Unavailable: The painter is closed.
        """
        commission = _Commission(order)
        self._enqueue(commission)
        num_open = len(order.wishes)
        try:
            yield Progress(0, order.steps_total)
            while num_open:
                item = await commission.queue.get()
                if isinstance(item, Exception):
                    raise item
                num_open -= isinstance(item, Picture) and item.preview is None
                yield item
        finally:
            self._cancel(commission)

    def close(self) -> None:
        """Stop the thread within a step; orders under way end with Unavailable."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _enqueue(self, commission: _Commission) -> None:
        places = [_Place(commission, index) for index in range(len(commission.order.wishes))]
        with self._changed:
            if self._is_closed:
                raise Unavailable("the model is being unloaded", fix="ask again")
            state = f"{len(self._batch)} pictures are being drawn and {len(self._waiting)} wait"
            if len(self._waiting) + len(places) > self._max_waiting:
                raise Overloaded(state, fix="try again shortly")
            self._check_wait(commission.order.style, state)
            self._waiting.extend(places)
            self._changed.notify()

    def _check_wait(self, style: Style, state: str) -> None:
        """Refuse who would wait too long for the batches before; who is in the next one may always wait."""
        waiting = Counter(place.commission.order.style for place in self._waiting)
        own = waiting.pop(style, 0) // self._max_batch
        before = own + sum(math.ceil(pictures / self._max_batch) for pictures in waiting.values())
        if before:
            under_way = (self._batch_since,) if self._batch else ()
            self._patience.check(self._patience.expected(before + bool(self._batch), under_way), state)

    def _cancel(self, commission: _Commission) -> None:
        commission.is_cancelled = True
        with self._changed:
            self._waiting = deque(place for place in self._waiting if place.commission is not commission)

    def _run(self) -> None:
        while self._take_batch():
            try:
                self._draw_batch(self._batch)
            except NobodyWaitsError:
                _logger.info("a batch was given up", pictures=len(self._batch))
            except Exception as error:  # one broken batch must not end all later ones
                _logger.exception("drawing failed")
                self._fail(self._batch, Internal(f"drawing failed: {error}"))
            if self._is_closed:
                break
            self._patience.took(self._batch_since)
            self._batch = []
        self._fail([*self._batch, *self._waiting], Unavailable("the model was unloaded", fix="ask again"))
        self._batch, self._waiting = [], deque()
        self._active.set(0)

    def _take_batch(self) -> bool:
        """The first in the queue and all who may be drawn with it; False at the end."""
        with self._changed:
            self._active.set(0)
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return False
            style = self._waiting[0].commission.order.style
            rest: deque[_Place] = deque()
            for place in self._waiting:
                fits = place.commission.order.style == style and len(self._batch) < self._max_batch
                (self._batch if fits else rest).append(place)
            self._waiting = rest
            self._batch_since = self._patience.now()
            self._active.set(len(self._batch))
            return True

    def _draw_batch(self, batch: Sequence[_Place]) -> None:
        def is_wanted(place: int) -> bool:
            return not (batch[place].commission.is_cancelled or self._is_closed)

        style = batch[0].commission.order.style
        pixels = self._drawing.draw(
            [place.wish for place in batch],
            style,
            is_wanted=is_wanted,
            on_step=lambda step: _tell_step(batch, step),
        )
        for place, pixels_HWC in zip(batch, pixels, strict=True):
            if not place.commission.is_cancelled:
                place.commission.send(Picture(place.index, pixels_HWC, place.wish.seed))

    def _fail(self, places: Sequence[_Place], error: VermeilError) -> None:
        for commission in {id(place.commission): place.commission for place in places}.values():
            commission.send(error)


def _tell_step(batch: Sequence[_Place], step: Step) -> None:
    for number, place in enumerate(batch):
        commission = place.commission
        commission.steps_done += 1
        if commission.is_cancelled:
            continue
        preview = _preview_after(step.number, commission.order)
        if preview is not None:
            commission.send(Picture(place.index, step.look(number), place.wish.seed, preview))
    for commission in {id(place.commission): place.commission for place in batch}.values():
        commission.tell_progress()


def _preview_after(step: int, order: ImageOrder) -> int | None:
    """Previews come at even distances, never with the last step."""
    parts = order.num_previews + 1
    due = [order.style.steps * part // parts for part in range(1, parts)]
    return due.index(step) if step in due else None
