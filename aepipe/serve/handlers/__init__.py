"""The endpoints, one file for each subject.

Each reads its request, lets a thread work, and writes the answer.
"""
