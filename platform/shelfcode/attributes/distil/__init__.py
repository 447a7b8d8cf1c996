"""Teaching a small extractor what a large one said."""
