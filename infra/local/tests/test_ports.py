"""A port in use is told from one that is free, and from one that is not ours."""

import socket

import pytest
from vermeil_errors import Conflict, InvalidInput
from vermeil_local.ports import require_free


def test_a_port_in_use_names_the_variable_and_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Conflict, match=f"VERMEIL_BIND = '{address}'.*in use.*set VERMEIL_BIND"):
            require_free("VERMEIL_BIND", address)
    require_free("VERMEIL_BIND", address)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InvalidInput, match="VERMEIL_HTTP_BIND"):
        require_free("VERMEIL_HTTP_BIND", "192.0.2.1:8080")
