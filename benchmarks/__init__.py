"""How fast refnode is: one script a question, contestants in turn in one run, results in results/."""
