"""How do stored samples leave for files that other programs read?"""
