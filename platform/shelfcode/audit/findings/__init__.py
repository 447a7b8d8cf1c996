"""What is suspected of a product or a category, and why: issues, evidence, patterns, categories."""
