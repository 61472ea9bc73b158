"""Brings image files into one file: folders of classes, lists, images with their masks."""
