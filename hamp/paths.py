"""Where files of a run lie in its results. Light: the Snakefile asks."""


def profile_folder(device: str) -> str:
    """Folder of a device's profile; the device of block `device` is called ``."""
    return f"profile/{device}" if device else "profile"
