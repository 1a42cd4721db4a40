"""What tests of several rooms share: small projects and runs, ways to damage them, hostile input."""
