"""One stage a file: typed functions from artifacts to one artifact."""
