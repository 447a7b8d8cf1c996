"""The sample shop: products with facts planted beside them, for the demo, tests and benchmarks. Nothing is built on it."""
