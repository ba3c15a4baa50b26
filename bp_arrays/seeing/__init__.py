"""What can be looked at: the curves of a training, how classes are confused. One file a picture.

Nothing here imports Matplotlib (extra `plot`) before a picture is asked for.
"""

from bp_arrays.seeing.confusion import ConfusionMatrix

__all__ = ["ConfusionMatrix"]
