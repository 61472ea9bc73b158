"""How fast is chunkstore beside its peers and the limits of the machine?

``python -m benchmarks.run`` measures; ``docs/design/0003-speed-of-the-store.md`` says what for.
"""
