"""What a retriever is worth: cases, measures, controls, intervals, and the page about them."""
