"""Programs that run as children: standard library only, because other interpreters run them too."""
