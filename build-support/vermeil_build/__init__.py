"""Programs behind the Makefile: setting up, checking, measuring sizes. They know the tree, not the product."""
