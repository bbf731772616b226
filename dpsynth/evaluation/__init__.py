"""How good and how safe a release is, judged after it was made."""
