"""The two stages of a run, from its data to its final table, and the plan of one."""
