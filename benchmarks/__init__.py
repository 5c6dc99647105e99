"""A package, and not only a folder: ArcticDB installs a package of this name, which would be imported instead."""
