"""What runs in the user's interpreter: start the entry point, bind inputs, keep the result, tell.

It is packed into one zip file (`pack.py`) and put on the path of whatever interpreter the user's
environment has, under the name `tradewind_inside`. So: standard library only, syntax of Python 3.8,
imports between its modules relative, nothing heavy at import.

The order of reading: `zygote` (the warm interpreter) forks `keeper` (one per unit), which forks
`process` (the user's process), which calls `entry`.
"""
