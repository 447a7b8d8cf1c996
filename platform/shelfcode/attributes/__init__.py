"""Product -> attributes: what a product is, is made of and comes as, without the marketing copy."""
