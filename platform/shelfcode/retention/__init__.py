"""What a workspace need not hold: which releases stay, what nothing refers to then, and how small parts become large ones."""
