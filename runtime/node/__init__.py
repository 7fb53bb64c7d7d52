"""The node: it owns the instance processes and the devices of one machine, and outlives nobody's plans but its own.

It launches what it is told, watches over it, and says what became of it. How many there should be is not its business.
"""
