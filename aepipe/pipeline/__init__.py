"""Stages: read refs, call nouns, write one artifact. They never import each other, and know no orchestration.

Each stage names its artifact by the digest of its inputs before it starts, and returns at once where the shelf has it.
"""
