"""What the tests of this folder start as programs of their own, and pytest must not import."""

collect_ignore = ["lightning_two.py"]
