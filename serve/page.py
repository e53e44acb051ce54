"""The command `fas page`, which is `python -m serve.page`; the page itself is in `page_layout`, which loads gradio."""

from typing import Annotated

import typer

from fas_core.cli.app import App, run
from fas_core.errors import FASError
from fas_serve.client import DEFAULT_URL, Client
from fas_serve.guard import is_loopback

app = App()


@app.command()
def main(
    url: Annotated[str, typer.Option(help="of the server (fas serve)")] = DEFAULT_URL,
    api_key: Annotated[str | None, typer.Option(envvar="FAS_API_KEY", help="of the server")] = None,
    host: Annotated[str, typer.Option(help="address of the page; any but loopback needs --password")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="of the page")] = 7860,
    password: Annotated[str | None, typer.Option(envvar="FAS_PAGE_PASSWORD", help="of the user 'fas'")] = None,
    max_size: Annotated[str, typer.Option(help="of an uploaded file")] = "25mb",
) -> None:
    """Show a server's page in the browser: record or drop audio, see emotion, tone against words, kept tokens, and chat.

    Example, beside `fas serve --fas-only`:

      fas page

    Exit code: 0; 2 where there is no server, or the address needs a password.
    """
    if not is_loopback(host) and not password:
        raise FASError(f"--host {host}: others can reach this address; expected --password (FAS_PAGE_PASSWORD)")
    client = Client(url, api_key)
    can_chat = "chat" in client.models()[0]["abilities"]
    from fas_serve.page_layout import launch  # here, so that --help does not load gradio

    launch(client, can_chat, host, port, password, max_size)


if __name__ == "__main__":
    run(app, "python -m serve.page")
