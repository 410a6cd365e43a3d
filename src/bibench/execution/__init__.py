"""What of a suite is to do, and who does it: the plan, the runner, its workers."""
