"""All of Vermeil on one machine, from one command."""
