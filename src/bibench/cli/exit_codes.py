"""Exit codes of ``bibench``.

0 success; 1 some cells failed, a check found a broken contract or data is not usable; 2 a user's error; 130 and 143
stopped by SIGINT and SIGTERM.
"""

FAILED, USER_ERROR = 1, 2
