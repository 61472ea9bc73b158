"""One module a framework: shows it our batches. Nothing imports these; methods resolve them."""
