"""Ask a model what a task wants to know of every item, and nothing twice.

Items go through in slabs. What the cache lacks is handed to the model as one stream, whose batches are
put into the cache as they come: a run that was killed goes on with the very batch it was in, so its
numbers are those of a run that was not.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from vermeil_errors import InvalidInput

from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.item import Item
from vermeil_evaluator.models.model import Model
from vermeil_evaluator.requests import Answer, Request, from_bytes, key, to_bytes

_ITEMS_AT_ONCE = 4096

Prompt = Callable[[Item], Sequence[Request]]


@dataclass(frozen=True)
class Asker:
    """Asks one model for one task."""

    model: Model
    cache: AnswerCache
    task: str
    """The task and its version, such as "perplexity@1"."""
    check: Callable[[], None] = lambda: None
    """Called between batches; may raise to stop."""

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers of a list of requests, in its order."""
        items = (Item(str(index), {}) for index in range(len(requests)))
        found = self.about(items, lambda item: [requests[int(item.id)]])
        return [answers[0] for _, answers in found]

    def about(self, items: Iterable[Item], prompt: Prompt) -> Iterator[tuple[Item, list[Answer]]]:
        """Every item with the answers to what `prompt` asks about it, in order."""
        rest = iter(items)
        while slab := list(islice(rest, _ITEMS_AT_ONCE)):
            yield from self._slab(slab, prompt)

    def _slab(self, items: Sequence[Item], prompt: Prompt) -> Iterator[tuple[Item, list[Answer]]]:
        asked: deque[_Asked] = deque()
        waiting: deque[tuple[_Asked, int, bytes]] = deque()

        def missing() -> Iterator[Request]:
            for item in items:
                requests = prompt(item)
                asked.append(_Asked(item, [None] * len(requests)))
                for place, request in enumerate(requests):
                    found = self.cache.get(name := key(self.model.digest, self.task, request))
                    if found is None:
                        waiting.append((asked[-1], place, name))
                        yield request
                    else:
                        asked[-1].answers[place] = from_bytes(found)

        for batch in _naming(waiting, self.model.answer(missing(), self.check)):
            places = [waiting.popleft() for _ in batch]
            self.cache.put(
                [(name, to_bytes(answer)) for (_, _, name), answer in zip(places, batch, strict=True)]
            )
            for (of_item, place, _), answer in zip(places, batch, strict=True):
                of_item.answers[place] = answer
            while asked and (complete := asked[0].complete()) is not None:
                yield asked.popleft().item, complete
            self.check()
        for of_item in asked:
            complete = of_item.complete()
            assert complete is not None, "the model left a request without an answer"
            yield of_item.item, complete


def _naming(
    waiting: "deque[tuple[_Asked, int, bytes]]", batches: Iterator[Sequence[Answer]]
) -> Iterator[Sequence[Answer]]:
    """An item that cannot be asked about is named, or the first and last of those that were asked with it."""
    try:
        yield from batches
    except InvalidInput as error:
        if not waiting or error.violations:
            raise
        asked = list(dict.fromkeys(of_item.item.id for of_item, _, _ in waiting))
        name = asked[0] if len(asked) == 1 else f"one of {asked[0]} to {asked[-1]}"
        raise InvalidInput(f"{name}: {error.message}", fix=error.fix) from error


@dataclass
class _Asked:
    item: Item
    answers: list[Answer | None]

    def complete(self) -> list[Answer] | None:
        found = [answer for answer in self.answers if answer is not None]
        return found if len(found) == len(self.answers) else None
