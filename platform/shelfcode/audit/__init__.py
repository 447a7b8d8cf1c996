"""Where code and label disagree: findings, how sure they are, and what people decided of them."""
