"""What can go wrong in inference that a caller may want to catch."""

from __future__ import annotations


class ModelTooLarge(ValueError):
    """A junction tree, or an intermediate factor, would need more cells than the declared limit."""

    def __init__(self, what: str, cells: int, max_cells: int) -> None:
        super().__init__(f"{what} needs {cells} cells, allowed are {max_cells}; raise max_cells or ask for less")
        self.what = what
        self.cells = cells
        self.max_cells = max_cells


__all__ = ["ModelTooLarge"]
