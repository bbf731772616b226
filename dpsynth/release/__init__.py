"""The way out: models kept, tables sealed, admitted, bundled and verified."""
