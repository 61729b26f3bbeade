"""The endpoints, one file for each subject; each reads its request, lets a thread work, and writes the answer."""
