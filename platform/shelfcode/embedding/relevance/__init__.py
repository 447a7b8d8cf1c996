"""Training and judging encoders by judgments of products for queries."""
