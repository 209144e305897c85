"""From bytes to pixels: headers, decoding, and pictures that are read and written."""
