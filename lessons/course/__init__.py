"""Runs and checks the lessons, and turns them into notebooks and a website."""
