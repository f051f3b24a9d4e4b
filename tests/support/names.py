"""Host names that come and go, for one operator process: `<name>.test` is known as long as a file `<name>` exists."""

import socket
from pathlib import Path
from typing import Any

SUFFIX = ".test"


def resolve(folder: Path) -> None:
    """Have this process ask the folder for such names; it stands for the resolver of its machine."""
    ask_the_system = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.endswith(SUFFIX):
            if not (folder / name.removesuffix(SUFFIX)).exists():
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = "127.0.0.1"
        return ask_the_system(host, *arguments, **options)

    socket.getaddrinfo = look_up
