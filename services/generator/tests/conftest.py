"""One tiny model for the whole session."""

import pytest
from vermeil_generator.testing import House
from vermeil_model import load_checkpoint


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House.built_in(tmp_path_factory.mktemp("models"))
    load_checkpoint(house.folder)  # the first load of a process may import for seconds
    return house
