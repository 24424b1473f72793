"""Grading by machine, under one principle: answers and tests never share a process.

A student's program runs in a sandbox (`sandbox.py`), which holds neither hidden tests nor reference solutions, and in
which nothing is worth protecting. What comes out is bytes, read as JSON or safetensors, which cannot carry code. They
are compared with the reference's in a process that never runs anything a student wrote.
"""
