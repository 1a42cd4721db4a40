"""Films of a policy at work: the arm as MuJoCo renders it, and the route of the moment beside it."""
