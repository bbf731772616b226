"""Generators: a recipe plans without rows, fits through charged looks, and yields a model that samples."""
