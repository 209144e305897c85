"""Images: headers, decoding, and pictures that massrl writes."""
