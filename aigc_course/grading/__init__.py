"""Grading a class, from what learning platforms export to marks, under one principle.

Answers and tests never share a process: hidden tests and reference solutions never enter a process that runs a
student's code, and what comes out of such a process is plain data that cannot carry code. So the modules here are of
two kinds. Those that only read what students sent, `intake` and `notebooks`, never run any of it, and write plain
notebooks and JSON. What runs it does so in `sandbox`, which holds nothing worth protecting; what comes out are bytes,
read as JSON or safetensors, and compared in a process that never runs anything a student wrote.
"""
