"""Backbones from elsewhere and for elsewhere: other projects' files read, files written that they load."""
