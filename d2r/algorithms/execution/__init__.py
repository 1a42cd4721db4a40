"""How updates are executed: compiling and recording, around the learner and not in it."""
