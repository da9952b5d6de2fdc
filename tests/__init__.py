"""Tests are a package of their own, so that no other of this name on the path is taken for it."""
