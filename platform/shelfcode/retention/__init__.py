"""Keeping a workspace small: which releases stay, what nothing refers to any more, and how small parts become large ones."""
