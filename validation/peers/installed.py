"""Import every library of the scoreboard and print its version: the last step of install.sh."""

from importlib import metadata

from validation.peers.configurations import CONFIGURATIONS, PACKAGES


def versions():
    """The libraries' versions in one line."""
    return ", ".join(f"{package} {metadata.version(package)}" for package in PACKAGES)


def main():
    """Load every configuration's function, then print versions."""
    for configuration in CONFIGURATIONS:
        configuration.load()
    print(versions())


if __name__ == "__main__":
    main()
