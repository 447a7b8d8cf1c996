"""Reading a product's own text with rules: what it states, what it denies, and attributes where no model is at hand."""
