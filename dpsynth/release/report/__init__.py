"""The report: one page that says which margins to trust and by how much."""
