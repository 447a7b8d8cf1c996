"""What becomes of the cells of a source: ids, texts, category paths and prices, each as shops write them."""
