"""What a script imports as ``xferbench`` and the command line calls: one function for each job.

Names and numbers come in as plain values and paths; what comes back can be printed (``str``) and has ``to_json()``. Nothing is
printed on the way: a function that has something to tell meanwhile takes ``say``.
"""
