"""What each view of a product says of its leaf: posteriors over leaves that do not depend on the product's own label."""
