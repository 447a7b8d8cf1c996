"""What people did with products: sessions, baskets, pairs and judgments, read and checked."""
