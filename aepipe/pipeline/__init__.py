"""From raw items to a published release: one stage in each file.

A stage reads artifacts by their references, calls the rooms below, and writes one artifact. It computes the digest of
its inputs first and returns at once where the store has that artifact. Stages know no orchestration, and none of them
calls another, except those that put earlier results together: ``compact`` and ``update``.
"""
