"""Pictures to datasets: find them, look at them in a process that may die, choose, and write them down."""
