"""The subcommands of `adclip` that run on the line."""
