"""One way to ask a language model: a prompt of tokens, and an answer held to a JSON schema.

In bulk by vLLM in Ray Data (`pipeline`), or one prompt at a time by an engine in the process (`engine`).
"""
