"""Products whose text says too little: which they are, how sure that is, and what their neighbours would fill in."""
