"""The verb ``join``."""

from __future__ import annotations

from aepipe.cli.options import Where
from aepipe.cli.output import say
from aepipe.pipeline import launch


def join(where: Where) -> None:
    """Take part in the trainings of a run on another machine.

    That run was started with `--world N@HOST:PORT`, and its store is in a folder that both machines see.
    This one adds as many processes to each of its trainings, also to one that has begun: that goes on
    from its last checkpoint with all of them, and without those that are lost. Weights are the same.

    It waits for the next training until Ctrl-C. Whoever reaches HOST:PORT can run programs there, so it
    belongs into a private network.

    Examples:
      aepipe run photos.toml --set compute.shards=4 --world 2@10.0.0.1:29500     on 10.0.0.1
      aepipe join --home /mnt/store                                             on another machine
    """
    launch.join(where.store(), say)
