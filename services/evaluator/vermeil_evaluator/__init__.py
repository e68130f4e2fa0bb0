"""Measures models: numbers with intervals, and a report that holds every item."""
