"""Which samples come in which order? Integers in, index arrays out; no I/O, no clock."""
