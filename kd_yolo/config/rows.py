"""Names of a league's rows that mean something; reports read them without importing the losses."""

NONE, SHIPPED, TEACHER = "none", "shipped", "teacher"
AT_COST, MEASURED = f"{NONE}@", "cost"
