"""gunicorn with uvicorn's worker and an identity for each connection.

``gunicorn -k negotiate_mw.servers.gunicorn.Worker app:app``, also with ``--preload``.

Law: uvicorn's worker as it is, with our protocol class. It is the package uvicorn-worker's where that is installed,
else uvicorn's own: the same code, deprecated but needing nothing more.
"""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class UvicornWorker:  # gunicorn has no types
        CONFIG_KWARGS: dict[str, Any]
else:
    try:
        from uvicorn_worker import UvicornWorker
    except ImportError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from uvicorn.workers import UvicornWorker


class Worker(UvicornWorker):
    """``-k negotiate_mw.servers.gunicorn.Worker``"""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - an instance's, as uvicorn declares it
        **UvicornWorker.CONFIG_KWARGS,
        "http": "negotiate_mw.servers.uvicorn:Auto",
    }
