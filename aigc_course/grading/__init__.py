"""Grading a class, from what learning platforms export to marks.

The principle is that answers and tests never share a process: hidden tests and reference solutions never enter a
process that runs a student's code, and what comes out of such a process is plain data that cannot carry code. So the
modules here are of two kinds. Those that only read what students sent, such as `intake` and `notebooks`, never run any
of it, and write plain notebooks and JSON; those that run it do so in a sandbox, and compare outside.
"""
