"""Peculiarity: images of people and animals that are sharp and wrong, measured."""
