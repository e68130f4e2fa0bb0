"""Programs behind the Makefile: setup, checks, sizes. They know the tree, not the product."""
