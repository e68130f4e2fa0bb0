"""Models in memory: loaded once, kept while used, let go of least recently used first."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from vermeil_artifacts import ArtifactRef, LocalStore
from vermeil_errors import InvalidInput, NotFound, Overloaded, TooLarge, Unavailable
from vermeil_generator.clients import ModelSource
from vermeil_generator.fakes import FakeNames, publish_tiny_model
from vermeil_generator.loaded import LoadedModel, load
from vermeil_generator.models import Models
from vermeil_generator.settings import GeneratorSettings

SIZE = 100


@dataclass
class Bare:
    """As much of a loaded model as the table of models looks at."""

    name: str
    memory_bytes: int = SIZE
    closed: list[str] = field(default_factory=list)
    is_alive: bool = True

    def close(self) -> None:
        self.closed.append(self.name)


class House:
    """Models a, b, c, … of one size, and a record of what was loaded and closed."""

    def __init__(self, max_bytes: int = 2 * SIZE) -> None:
        self.names = FakeNames()
        for letter in "abc":
            self.names.add(f"models/{letter}/versions/1", _ref())
        self.loads: list[str] = []
        self.closed: list[str] = []
        self.models = Models(self.names, self._load, max_bytes)

    def _load(self, source: ModelSource, base: LoadedModel | None) -> LoadedModel:
        self.loads.append(source.name[7])
        if source.name.startswith("models/broken"):
            raise InvalidInput("no such architecture")
        return cast(LoadedModel, Bare(source.name, closed=self.closed))

    async def use(self, letter: str) -> str:
        async with self.models.using(f"models/{letter}") as model:
            await asyncio.sleep(0)
            return model.name


def _ref(num_bytes: int = SIZE) -> ArtifactRef:
    return ArtifactRef("sha256:" + "0" * 64, "model", num_bytes)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


def test_a_model_is_loaded_once_however_many_ask_at_the_same_time() -> None:
    house = House()

    async def ask() -> list[str]:
        return await asyncio.gather(*(house.use("a") for _ in range(10)), house.use("a"))

    assert set(run(ask())) == {"models/a/versions/1"}
    assert house.loads == ["a"]


def test_the_least_recently_used_makes_room() -> None:
    house = House()

    async def ask() -> None:
        for letter in "abac":
            await house.use(letter)

    run(ask())
    assert house.loads == ["a", "b", "c"]
    assert house.closed == ["models/b/versions/1"]


def test_a_model_in_use_is_never_let_go() -> None:
    house = House()

    async def ask() -> None:
        async with house.models.using("models/a"), house.models.using("models/b"):
            with pytest.raises(Overloaded, match="in use"):
                await house.use("c")
            assert house.closed == []
        await house.use("c")

    run(ask())
    assert house.closed == ["models/a/versions/1"]


def test_a_base_is_loaded_once_and_stays_while_an_adapter_is_loaded() -> None:
    house = House(3 * SIZE)
    for letter in "xy":
        house.names.add(f"models/{letter}/versions/1", _ref(), base="models/a/versions/1")

    async def ask() -> None:
        await asyncio.gather(house.use("x"), house.use("y"))
        assert house.loads[0] == "a"
        assert sorted(house.loads) == ["a", "x", "y"]
        async with house.models.using("models/x"):
            await house.use("b")
            assert house.closed == ["models/y/versions/1"]
            with pytest.raises(Overloaded, match="in use"):
                async with house.models.using("models/b"):
                    await house.use("c")
        await house.use("b")
        await house.use("c")
        await house.use("y")

    run(ask())
    assert house.closed == [f"models/{each}/versions/1" for each in "yxb"]
    assert [model.name[7] for model, _ in house.models.loaded()] == ["a", "c", "y"]


def test_unloading_a_base_unloads_its_adapters_first() -> None:
    house = House(3 * SIZE)
    house.names.add("models/x/versions/1", _ref(), base="models/a/versions/1")

    async def ask() -> None:
        async with house.models.using("models/x"):
            unloading = asyncio.create_task(house.models.unload("models/a/versions/1"))
            await asyncio.sleep(0.01)
            assert house.closed == []
        await unloading

    run(ask())
    assert house.closed == ["models/x/versions/1", "models/a/versions/1"]
    assert house.models.loaded() == []


def test_an_adapter_that_cannot_be_loaded_lets_its_base_go() -> None:
    house = House()
    house.names.add("models/broken/versions/1", _ref(), base="models/a/versions/1")

    async def ask() -> None:
        with pytest.raises(InvalidInput, match="no such architecture"):
            await house.use("broken")
        await house.models.unload("models/a/versions/1")

    run(ask())
    assert house.closed == ["models/a/versions/1"]


def test_a_model_larger_than_all_memory_is_refused() -> None:
    house = House()
    house.names.add("models/big/versions/1", _ref(10 * SIZE))
    with pytest.raises(TooLarge, match="VERMEIL_GENERATOR_MEMORY_BYTES"):
        run(house.use("big"))
    assert house.loads == []


def test_a_failed_load_is_told_to_all_who_wait_and_tried_anew_later() -> None:
    house = House()
    house.names.add("models/broken/versions/1", _ref())

    async def ask() -> None:
        found = await asyncio.gather(*(house.use("broken") for _ in range(3)), return_exceptions=True)
        assert all(isinstance(each, InvalidInput) for each in found)
        with pytest.raises(InvalidInput):
            await house.use("broken")

    run(ask())
    assert house.loads == ["b", "b"]


def test_who_stops_waiting_for_a_load_does_not_stop_it_for_others() -> None:
    house = House()

    async def ask() -> str:
        impatient = asyncio.create_task(house.use("a"))
        patient = asyncio.create_task(house.use("a"))
        await asyncio.sleep(0)
        impatient.cancel()
        return await patient

    assert run(ask()) == "models/a/versions/1"


def test_a_new_version_answers_as_soon_as_the_registry_knows_it() -> None:
    house = House()

    async def ask() -> list[str]:
        first = await house.use("a")
        house.names.add("models/a/versions/2", _ref())
        return [first, await house.use("a")]

    assert run(ask()) == ["models/a/versions/1", "models/a/versions/2"]


def test_with_the_registry_away_loaded_models_still_answer() -> None:
    house = House()

    async def ask() -> None:
        await house.use("a")
        house.names.error = Unavailable("the registry is away")
        assert await house.use("a") == "models/a/versions/1"
        async with house.models.using("models/a/versions/1"):
            pass
        with pytest.raises(Unavailable):
            await house.use("b")

    run(ask())


@pytest.mark.parametrize(
    "name", ["", "a", "models/", "models/A", "models/a/versions/0", "models/a/versions/", "x/a"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    async def ask() -> None:
        async with House().models.using(name):
            pass

    with pytest.raises(InvalidInput, match="model"):
        run(ask())


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(NotFound):
        run(House().use("z"))


def test_unloading_waits_for_those_who_use_it() -> None:
    house = House()

    async def ask() -> None:
        async with house.models.using("models/a"):
            unloading = asyncio.create_task(house.models.unload("models/a/versions/1"))
            await asyncio.sleep(0.01)
            assert not unloading.done()
        await unloading
        assert house.closed == ["models/a/versions/1"]
        assert house.models.loaded() == []
        with pytest.raises(NotFound):
            await house.models.unload("models/a/versions/1")

    run(ask())


def test_a_model_that_has_died_is_loaded_anew_once_nobody_uses_it_with_its_base() -> None:
    house = House()
    house.names.add("models/x/versions/1", _ref(), base="models/a/versions/1")

    async def ask() -> None:
        async with house.models.using("models/x"):
            for model, _ in house.models.loaded():
                cast(Bare, model).is_alive = False
            asking = [asyncio.create_task(house.use("x")) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert house.closed == []
        assert await asyncio.gather(*asking) == ["models/x/versions/1"] * 3

    run(ask())
    assert house.closed == ["models/x/versions/1", "models/a/versions/1"]
    assert house.loads == ["a", "x", "a", "x"]


@pytest.mark.parametrize("letter", ["a", "x"])
def test_a_model_that_has_died_is_freed_when_its_last_user_leaves_it(letter: str) -> None:
    house = House()
    house.names.add("models/x/versions/1", _ref(), base="models/a/versions/1")

    async def ask() -> None:
        await house.use("x")
        async with house.models.using(f"models/{letter}"):
            async with house.models.using("models/a"):
                for model, _ in house.models.loaded():
                    cast(Bare, model).is_alive = False
            while house.models.loaded():
                await asyncio.sleep(0.001)
            anew = asyncio.create_task(house.use(letter))
            await asyncio.sleep(0.01)
            assert "models/a/versions/1" not in house.closed
            assert house.loads == ["a", "x"]  # there is no room for both
        while len(house.closed) < 2:
            await asyncio.sleep(0.001)
        assert await anew == f"models/{letter}/versions/1"

    run(ask())
    assert house.closed == ["models/x/versions/1", "models/a/versions/1"]


def test_draining_takes_no_new_requests() -> None:
    house = House()

    async def ask() -> None:
        await house.models.drain()
        with pytest.raises(Unavailable):
            await house.use("a")

    run(ask())


def test_a_folder_of_another_architecture_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "artifacts")
    folder = store.fetch(publish_tiny_model(store, tmp_path / "model"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for file in folder.iterdir():
        (foreign / file.name).write_bytes(file.read_bytes().replace(b'"vermeil"', b'"gpt2"'))
    with pytest.raises(InvalidInput, match="another architecture"):
        load("models/x/versions/1", foreign, GeneratorSettings.model_construct())


def test_who_asks_to_unload_may_leave_before_those_who_use_the_model() -> None:
    house = House()

    async def leave() -> None:
        async with house.models.using("models/a"):
            unloading = asyncio.create_task(house.models.unload("models/a/versions/1"))
            await asyncio.sleep(0)
            unloading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await unloading
            assert house.closed == []
            with pytest.raises(Overloaded):  # it still takes its memory
                async with house.models.using("models/b"), house.models.using("models/c"):
                    pass
        while not house.closed:
            await asyncio.sleep(0.001)
        assert house.closed == ["models/a/versions/1"]
        await house.models.close()

    run(leave())
