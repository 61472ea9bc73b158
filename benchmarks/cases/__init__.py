"""The measurements, one question a file; each has ``run(settings) -> list[Result]``."""
