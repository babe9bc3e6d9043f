"""The explaining pages, and whether what they say is so: pictures and tables made from the code, claims held against
the code, and Apache beside us where a page says that we do as Apache does."""
