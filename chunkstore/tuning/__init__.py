"""Which codec suits a person's data on their machine, and how fast does their file load?"""
