"""The scoreboard's parts: worker processes, scores, the table, the picture."""
