"""`bp-arrays`: train, predict and look at devices from a shell. One file a command."""

__all__ = []
