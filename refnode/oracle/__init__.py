"""The oracle: problems whose gradients are known, the best truth about each, and the command that certifies methods."""
