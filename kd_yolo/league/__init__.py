"""The league: the same student under each loss, with the same initial weights, data order and schedule for a seed.

In: recipes, seeds, a teacher, a student, a data set. Out: a JSON file for each finished run, a table, comparisons and a
plot. Each training has a process of its own: what it costs can be measured, and a crash ends that run alone. The
same command goes on where an interrupted league stopped.
"""
