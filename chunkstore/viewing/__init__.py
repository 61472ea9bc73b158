"""How does a person see what is in a file: as a page, a picture, in a notebook, on a terminal?"""
