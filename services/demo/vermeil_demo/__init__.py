"""Vermeil in a browser; knows the gateway, and nothing behind it."""
