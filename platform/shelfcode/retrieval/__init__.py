"""The consumers of codes: models that retrieve products, trained from interactions."""
