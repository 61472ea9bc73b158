"""How is a file written anew: with other codecs and chunks, or in another order?"""
