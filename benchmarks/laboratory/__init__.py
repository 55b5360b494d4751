"""Everything that a quarter of an hour with a card can tell, in one run: `tools/cuda-check.sh run`.

Each section is a function of a module of its own, run in a process of its own within its share of the time; what it has
measured so far is kept, whatever becomes of it.
"""
