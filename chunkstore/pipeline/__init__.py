"""How do samples come from disk to the consumer? The one layer with reading threads."""
