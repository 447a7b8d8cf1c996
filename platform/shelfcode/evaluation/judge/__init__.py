"""A language model scores clusters, beside controls that say whether it can.

sets (what is judged) -> instruments (what is asked) -> gate (whether the answers mean anything) -> scale (what they mean) -> contrast
(one flavor beside another) -> report.
"""
