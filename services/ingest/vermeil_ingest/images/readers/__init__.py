"""Readers, one for each layout in which people keep pictures: entries of a shelf in, units out."""
