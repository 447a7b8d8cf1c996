"""Writing only semantic IDs that exist and are allowed: the trie, what of it may be taken, beam search and its oracle."""
