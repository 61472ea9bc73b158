"""Arrays of other libraries as they are: one file per library, found by the class of the array."""
