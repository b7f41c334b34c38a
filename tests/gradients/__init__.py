"""Tests of the gradient methods, against each other and against mathematics."""
