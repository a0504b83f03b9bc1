"""The lessons: `python -m lessons` lists them, starts and checks their exercises, and runs their code."""
