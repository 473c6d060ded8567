"""Image pairs A, B, label, for CTMA."""
