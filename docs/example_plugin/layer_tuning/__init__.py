"""An example of a method from outside the suite."""
