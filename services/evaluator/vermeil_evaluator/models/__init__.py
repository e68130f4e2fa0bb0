"""Models behind one interface: requests in, answers out. `model.py` says what one is."""
