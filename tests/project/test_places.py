"""Where audio, keys and files may go: no other host than the one given, no path that a table or a record made up."""

import json
import shutil
import socket

import numpy as np
import pytest
import soundfile
from standin import completion, standin
from test_case import ITEMS, Tone, assigned

from fas_core.errors import FASError
from fas_core.paths import file_name, is_inside
from fas_eval.case.panel import write_pages
from fas_eval.case.rendering import RECORDS, read_takes, render
from fas_eval.case.speech import EndpointSpeech
from fas_eval.report.clip_pages import _copied, _picture
from fas_eval.systems import endpoint
from fas_eval.systems.base import BenchmarkClip
from fas_serve import remote
from fas_serve.client import Client, ServerError

STATES = [301, 302, 303, 307, 308]


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 16_000)
    return BenchmarkClip("a", str(tmp_path / "a.wav"), "digest")


class TestRedirects:
    @pytest.fixture(params=STATES)
    def servers(self, request):
        """One that sends on to another; the other may never be asked."""
        with standin(lambda number, body: completion("D")) as other:
            with standin(
                lambda number, body: (request.param, {"Location": f"{other.url}/chat/completions"}, {})
            ) as server:
                yield server, other

    def test_an_endpoint_sends_audio_nowhere_else(self, servers, clip):
        server, other = servers
        system = endpoint.build({"name": "e", "model": "m", "base_url": server.url, "retries": 0, "timeout": 5}, None)
        (answer,) = system.answer([clip])
        system.close()
        assert answer.error and "redirect" in answer.error and len(server.asked) == 1 and other.asked == []

    def test_a_generator_of_speech_neither(self, servers):
        server, other = servers
        with pytest.raises(FASError):
            EndpointSpeech(server.url, "m", retries=0, timeout=5).speak(ITEMS[0], "alloy")
        assert other.asked == []

    def test_our_own_client_neither(self, servers, clip):
        server, other = servers
        with Client(server.url.removesuffix("/v1"), retries=0, timeout=5) as client, pytest.raises(ServerError):
            client.chat("How does she feel?", [clip.audio])
        assert other.asked == []


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_does_not_read_what_goes_unencrypted(variable, clip, monkeypatch):
    with (
        standin(lambda number, body: completion("D")) as proxy,
        standin(lambda number, body: completion("D")) as server,
    ):
        monkeypatch.setenv(variable, proxy.url.removesuffix("/v1"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        system = endpoint.build({"name": "e", "model": "m", "base_url": server.url, "retries": 0, "timeout": 5}, None)
        (answer,) = system.answer([clip])
        system.close()
    assert answer.label == "happy" and len(server.asked) == 1 and proxy.asked == []


class TestInternalAddresses:
    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::a00:1", "::ffff:0:127.0.0.1", "fec0::1",
         "fe80::1%eth0", "fd00::1", "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1",
         "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:20::1", "3fff::1", "5f00::1", "100::1", "ff02::1",
         "2606:4700::5efe:a00:1", "2606:4700::200:5efe:7f00:1", "192.88.99.1", "198.18.0.1", "192.0.2.1", "255.255.255.255",
         "240.0.0.1", "0.0.0.0", "0.1.2.3", "::"],
    )  # fmt: skip
    def test_in_every_dress(self, address):
        assert not remote.is_public(address)

    @pytest.mark.parametrize(
        "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001::64", "::ffff:8.8.8.8"]
    )
    def test_the_open_internet(self, address):
        assert remote.is_public(address)

    @pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "127.0.0.1."])
    def test_numbers_that_a_resolver_takes_for_an_address(self, host):
        """Whatever the name is, it is what it resolves to that is judged."""
        try:
            found = [entry[4][0] for entry in socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)]
        except OSError:
            pytest.skip("this resolver does not take it")
        assert not any(map(remote.is_public, found))


NAMES = [
    "../../x",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "a\0b",
    "x" * 999,
    ".hidden",
    "a\nb",
    "~",
    "-rf",
    "CON:",
    "日本",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_one_part_of_a_path(name, tmp_path):
    part = file_name(name)
    (tmp_path / part).touch()
    assert (tmp_path / part).resolve().parent == tmp_path.resolve() and not part.startswith(".") and len(part) <= 80


class TestTakes:
    @pytest.fixture
    def rendered(self, tmp_path):
        folder = tmp_path / "case"
        render(ITEMS[:2], assigned(ITEMS[:2]), Tone(), folder)
        return folder

    @pytest.mark.parametrize("field", ["id", "language"])
    @pytest.mark.parametrize("name", [*NAMES[:9], None, 7, ["a"]])
    def test_records_of_strangers_name_no_path(self, rendered, tmp_path, field, name):
        lines = [json.loads(line) for line in (rendered / RECORDS).read_text().splitlines()]
        lines[0]["item"][field] = name
        (rendered / RECORDS).write_text("".join(json.dumps(line) + "\n" for line in lines))
        takes = read_takes(rendered)
        assert len(takes) == 1, "the other one goes on"
        pages = write_pages(takes, rendered, tmp_path / "pages")
        assert all(is_inside(tmp_path / "pages", page) for page in pages.values())

    @pytest.mark.parametrize("what", ["file", "folder", "inside"])
    def test_a_link_in_the_place_of_a_take_is_not_passed_on(self, rendered, tmp_path, what):
        first = read_takes(rendered)[0]
        secret = tmp_path / "secret"
        if what == "folder":
            (rendered / "audio").rename(secret)
            (rendered / "audio").symlink_to(secret)
        else:
            target = secret if what == "file" else rendered / "copy.flac"
            shutil.move(rendered / first.file, target)
            (rendered / first.file).symlink_to(target)
        with pytest.raises(FASError, match="not the file that was rendered"):
            read_takes(rendered)


class TestReports:
    @pytest.fixture
    def run(self, tmp_path):
        class Run:
            folder = tmp_path

            def title(self, name):
                return name

        return Run()

    def test_a_link_is_shown_but_not_copied(self, run, clip, tmp_path):
        (tmp_path / "link.wav").symlink_to(clip.audio)
        page = tmp_path / "pages" / "1.html"
        picture = _picture(run, {"audio": "link.wav"}, page)
        assert (
            picture["outline"]
            and picture["audio"] is None
            and "link" in picture["problem"]
            and not page.parent.exists()
        )
        assert _picture(run, {"audio": "a.wav"}, page)["audio"] == "1.wav"

    def test_only_audio_is_copied(self, tmp_path):
        (tmp_path / "notes.html").write_text("<script>")
        assert _copied(tmp_path / "notes.html", np.zeros(1), tmp_path / "1.html") is None
