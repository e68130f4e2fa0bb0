"""Recipes to trained models."""
