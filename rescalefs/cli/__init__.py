"""The command line: parses, asks the rooms below, prints.

Promises: exit codes 0 (done), 1 (failed, one line on standard error says why), 2 (usage) and 130 (Ctrl-C); a
listing is a table on a terminal, tab-separated lines in a pipe, and a JSON array with ``--json``; a command's
module is imported only when the command is used. Knows nothing of HTTP, FUSE or the journal.
"""

import gc

# What is imported stays: looked through for cycles as often as usual, it takes 5 % longer to import.
gc.set_threshold(20_000)
