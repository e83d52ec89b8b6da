"""Decode photos in processes of their own, so that a hostile file costs one of them at most.

`pool` is what the rooms above use; `process` is one worker seen from outside, `worker` is what
runs inside it, and `messages` is what the two say to each other.
"""
