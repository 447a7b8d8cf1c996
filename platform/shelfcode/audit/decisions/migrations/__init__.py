"""How the tables of the review store came to be, version by version; run by whatever opens a store (database.py)."""
