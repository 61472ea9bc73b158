"""What foreign formats can be read without the library that wrote them? One part for each."""
