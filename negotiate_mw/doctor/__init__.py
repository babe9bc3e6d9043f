"""``negotiate-mw check`` and ``whoami``: what is wrong with a deployment, before a user finds out.

Law: a check looks and changes nothing, ends in time whatever it waits for, and prints nothing secret. What it finds has
the name that the log gives it, from the one catalogue in ``causes``; where it can't look, it says that, and no more.
"""
