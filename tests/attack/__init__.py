"""Attacks on files, machines and processes, each bounded in time: `make attack`, or `python -m tests.attack`.

An attack yields a `Report`: how many trials, how they ended, and what must not have happened.
"""
