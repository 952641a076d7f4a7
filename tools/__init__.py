"""Programs for whoever builds Portero; not part of the package."""
