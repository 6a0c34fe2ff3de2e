"""AdamW for the touched rows of a table, with weight decay that catches up."""

from polycompress.kernels.rowwise_adamw.op import catch_up_, caught_up, rowwise_adamw_
from polycompress.kernels.rowwise_adamw.state import RowState, next_decay_sum

__all__ = ["catch_up_", "caught_up", "next_decay_sum", "rowwise_adamw_", "RowState"]
