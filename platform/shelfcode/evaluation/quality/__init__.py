"""What semantic IDs are worth on their own: similarity, taxonomy, codebooks, collisions."""
