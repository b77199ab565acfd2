"""``diffdescent studio``: samplers at work, in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from diffdescent.base.errors import UserError
from diffdescent.core.limits import In

LOCAL = "127.0.0.1"


def studio(
    model: Annotated[
        str,
        typer.Argument(help="A bundled name, a diffusers checkpoint folder, or images:PATH."),
    ] = "cifar10-mixture",
    port: Annotated[
        int | None,
        typer.Option(help="Port; default: a free one from 7860 on."),
        In(0, 65535),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Serve others too, at this address of the machine.")
    ] = LOCAL,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
) -> None:
    """Serve a local page: compare recipes, read them, sweep two parameters, draw landscapes.

    Stop it with Ctrl-C. Nothing is loaded from the network and nothing is sent there.
    """
    import socket
    import threading

    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        raise UserError(
            f"There is no address {host!r} on this machine; give one such as 127.0.0.1 or 0.0.0.0."
        ) from None
    from diffdescent.apps.studio.models import Models
    from diffdescent.apps.studio.server import open_page, serve

    if host != LOCAL:
        typer.secho(
            f"Warning: whoever can reach {host} can use this computer's time, and have files read"
            " that a recipe names; without --host the studio is for this machine alone.",
            fg=typer.colors.YELLOW,
            err=True,
        )
    models = Models(model, device)
    models.get(model)
    page = open_page(models)
    address = serve(page, host, port)
    typer.echo(f"The studio is at {address} (stop it with Ctrl-C).")
    threading.Thread(target=models.warm, daemon=True).start()
    page.block_thread()
