"""Serving the page, on this machine alone unless asked otherwise."""

from __future__ import annotations

import os
from typing import Any

from diffdescent.base.errors import UserError

from .models import Models

UPLOAD = "8mb"
WAITING = 32
"""Visitors who wait for their turn, at most."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NEEDS = "The studio needs Gradio; install it with: pip install 'diffdescent[studio]'"


def open_page(models: Models) -> Any:
    """The page, ready to be served. Raises :class:`UserError` where Gradio is missing."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio keeps and sums up statistics of its events; a hundred of them are enough.
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import matplotlib

        from .page import build
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gradio":
            raise
        raise UserError(NEEDS) from None
    matplotlib.use("Agg")
    # Gradio loads it at the first click, whose preview would wait for it.
    import matplotlib.pyplot

    return build(models).queue(max_size=WAITING, default_concurrency_limit=4, api_open=False)


def _asked_by_name(host: str) -> list[Any]:
    """What refuses visitors who ask for this machine by another name, while it serves itself alone:
    a page of elsewhere may have its own name lead here (DNS rebinding)."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    if host not in LOOPBACK:
        return []
    return [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])]


def serve(page: Any, host: str, port: int | None) -> str:
    """Serve the page and give its address; ``port`` None takes a free one from 7860 on.

    Raises :class:`UserError` for a port or a host that cannot be had.
    """
    from .page.style import CSS, SCRIPT, theme

    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            quiet=True,
            show_error=True,
            prevent_thread_lock=True,
            max_file_size=UPLOAD,
            state_session_capacity=WAITING,
            footer_links=[],
            ssr_mode=False,
            pwa=False,
            theme=theme(),
            css=CSS,
            head=SCRIPT,
            app_kwargs={"middleware": _asked_by_name(host)},
        )
    except OSError as error:
        raise UserError(
            f"The studio cannot be served at {host}, port {port or '7860 to 7959'} ({error}); give"
            " another --port."
        ) from None
    return str(address)
