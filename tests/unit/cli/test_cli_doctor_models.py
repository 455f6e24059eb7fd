"""`doctor` asks the providers of the config, and looks up what their models cost."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest

from supervisor.maintenance.doctor_site import Finding
from tests.unit.cli.site import Site

_BODY = b'{"data": [{"id": "small"}]}'


class _Vendor(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_known = self.headers.get("authorization") == "Bearer right"
        self.send_response(200 if is_known and self.path == "/v1/models" else 401)
        self.send_header("content-length", str(len(_BODY)))
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Vendor)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


class _Told(msgspec.Struct):
    findings: list[Finding]


def of_models(site: Site) -> list[Finding]:
    found = site.call("doctor", "--json").json(_Told).findings
    return [one for one in found if one.area.startswith(("provider ", "model "))]


def use(site: Site, url: str, *, model: str = "cloud/small", price: str = '"free"') -> None:
    site.edit_config('model = "builtin/extractive"', f'model = "{model}"')
    with site.config.open("a") as config:
        config.write(
            f'\n[providers.cloud]\nkind = "openai"\nbase_url = "{url}"\n'
            'api_key_env = "CLOUD_KEY"\n' + (f"price = {price}\n" if price else "")
        )


def test_a_provider_that_knows_the_key_and_the_model_is_no_finding(
    lived: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(lived, url)
    monkeypatch.setenv("CLOUD_KEY", "right")
    assert of_models(lived) == []


def test_a_key_that_the_provider_does_not_know_is_found(
    lived: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(lived, url)
    monkeypatch.setenv("CLOUD_KEY", "wrong")
    (found,) = of_models(lived)
    assert found.what.startswith("HTTP 401")
    assert "api_key_env of [providers.cloud]" in found.fix


def test_a_key_that_this_shell_has_not_is_a_hint_and_no_finding(
    lived: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(lived, url)
    monkeypatch.delenv("CLOUD_KEY", raising=False)
    (found,) = of_models(lived)
    assert found.is_hint
    assert "$CLOUD_KEY is not set in this shell" in found.what


def test_a_model_without_a_price_is_found_with_the_line_to_add(
    lived: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(lived, url, price="")
    monkeypatch.setenv("CLOUD_KEY", "right")
    (found,) = of_models(lived)
    assert found.area == "model cloud/small"
    assert found.what == "its price is unknown: each call of it is refused"
    assert "input_usd_per_mtok" in found.fix


def test_the_models_behind_a_model_are_asked_for_too(
    lived: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(lived, url, model="builtin/extractive")
    lived.edit_config(
        'model = "builtin/extractive"', 'model = "builtin/extractive"\nfallback = ["cloud/large"]'
    )
    monkeypatch.setenv("CLOUD_KEY", "wrong")
    (found,) = of_models(lived)
    assert found.what.startswith("HTTP 401")


def test_a_server_that_is_gone_is_found(lived: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    use(lived, "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CLOUD_KEY", "right")
    (found,) = of_models(lived)
    assert found.what.startswith("no connection")
