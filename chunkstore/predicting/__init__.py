"""Model outputs streamed to a file: the model is asked, its outputs checked, a kill survived."""
