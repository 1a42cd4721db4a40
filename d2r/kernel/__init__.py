"""A small compiled library for what small networks spend their time on; everything works without it, more slowly."""
