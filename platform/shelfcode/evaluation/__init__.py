"""What a set of semantic IDs is worth: similarity-depth, taxonomy alignment, codebook health and the report on them."""
