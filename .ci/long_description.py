"""The long description of a release: the README without what leads nowhere outside."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n+", re.MULTILINE)
RELATIVE = re.compile(r"\[([^\]]*)\]\((?!https?://|#)[^)]*\)")


def outside(readme: str) -> str:
    """A README without images, and with the words of relative links in their place."""
    return RELATIVE.sub(r"\1", IMAGE.sub("", readme))


class LongDescription(MetadataHookInterface):
    """Puts the README for outsiders into the metadata."""

    def update(self, metadata: dict) -> None:
        """Set ``readme``."""
        text = outside((Path(self.root) / "README.md").read_text(encoding="utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
