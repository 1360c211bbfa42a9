"""The page as it is served: to this machine, nothing of its files, and an error for what is no request."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ddpm_jax.demo import main as demo
from ddpm_jax.errors import UserError

gradio = pytest.importorskip("gradio", reason="needs the extra `demo`")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(trained, told_run, tmp_path_factory):
    """The address of the page of two runs, by the command."""
    folder = tmp_path_factory.mktemp("served")
    words = [sys.executable, "-m", "ddpm_jax.demo", f"--workdir={trained}", f"--beside={told_run}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=dict(os.environ))
    try:
        for _ in range(1200):
            if found := re.search(r"http://\S+/", (folder / "log").read_text()):
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        assert found
        yield found[0]
    finally:
        process.send_signal(2)
        process.wait(30)
    assert "Traceback" not in (folder / "log").read_text()


def answer(url, content=None):
    """The status of an answer, and its text."""
    data = None if content is None else content.encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return found.status, found.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def test_it_is_served_to_this_machine_alone(served):
    port = int(served.rstrip("/").rpartition(":")[2])
    assert served.startswith("http://127.0.0.1:") and answer(served)[0] == 200
    own = socket.gethostbyname(socket.gethostname())
    if own.startswith("127."):
        pytest.skip("this machine has no other address by its name")
    with pytest.raises(OSError), socket.create_connection((own, port), timeout=5):
        pass


@pytest.mark.parametrize("prefix", ["gradio_api/file=", "gradio_api/file/", "file="])
def test_no_file_of_the_machine_is_served(served, prefix, trained):
    for path in ("/etc/passwd", str(Path(__file__)), str(trained / "config.json"), "../../../../etc/passwd"):
        status, text = answer(served + prefix + path)
        assert status in (403, 404) and "root:" not in text


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("gradio_api/queue/join", "no JSON"),
        ("gradio_api/queue/join", "{}"),
        ("gradio_api/queue/join", json.dumps({"data": [1], "fn_index": 9999, "session_hash": "a"})),
        ("gradio_api/queue/join", json.dumps({"data": "x" * 1000, "fn_index": 0, "session_hash": "b"})),
        ("gradio_api/run/predict", json.dumps({"data": [None] * 50, "fn_index": 0})),
        ("gradio_api/call/nothing", "{}"),
    ],
)
def test_what_is_no_request_gets_an_error_and_the_page_goes_on(served, path, content):
    status, text = answer(served + path, content)
    assert "Traceback" not in text and str(Path(__file__).parents[2]) not in text
    assert 400 <= status < 600 or "event_id" in text  # then its stream says so
    assert answer(served)[0] == 200


def test_no_page_asks_others(served):
    text = answer(served)[1]
    hosts = set(re.findall(r"(?:src|href)=\"https?://([^/\":]+)", text))
    assert hosts <= {"127.0.0.1"}


def test_wrong_options_are_a_line(trained, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, line in (
            ([f"--port={port}"], "--port: 127.0.0.1"),
            (["--port=0"], "--port: 0 is not one of"),
            (["--host=203.0.113.7"], "--host: 203.0.113.7"),
            ([f"--beside={tmp_path / 'nowhere'}"], f"{tmp_path / 'nowhere'}"),
            (["--distributed"], "--distributed"),
        ):
            with pytest.raises(UserError) as caught:
                demo([f"--workdir={trained}", *words])
            assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    where = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playwright.sync_playwright() as started:
        where = where or started.chromium.executable_path
        if not Path(where).exists():
            pytest.skip("needs a Chromium")
        found = started.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield found
        found.close()


def opened(browser, served):
    """A new user's page, and the hosts that it asks."""
    page, hosts = browser.new_context(viewport={"width": 1300, "height": 1100}).new_page(), set()
    page.on("request", lambda request: hosts.add(re.sub(r"^\w+://([^/:]*).*", r"\1", request.url)))
    page.goto(served)
    page.wait_for_selector("#left-go", timeout=60_000)
    return page, hosts


def until(page, name, words):
    page.wait_for_function(f"document.querySelector('#{name}').innerText.match(/{words}/)", timeout=120_000, polling=50)
    return page.inner_text(f"#{name}")


def stroke(page, name):
    """A stroke of the brush across the middle of what is painted on."""
    page.click(f"#{name}-painted button[aria-label='Brush']")
    box = page.query_selector(f"#{name}-painted canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y - 60)
    page.mouse.down()
    page.mouse.move(x + 60, y + 60, steps=10)
    page.mouse.up()
    page.wait_for_timeout(500)


def test_a_picture_is_drawn_for_two_users_at_once_and_clicks_do_no_harm(served, browser):
    (one, hosts), (other, _) = opened(browser, served), opened(browser, served)
    one.click("#left-go")
    other.click("#left-go")
    for _ in range(3):
        one.click("#left-go")  # while it computes
    for page in (one, other):
        assert "step 2 of 2" in until(page, "left-status", "evaluations")
        page.wait_for_selector("#left-picture img")
    assert one.evaluate("document.querySelector('#left-picture img').naturalWidth") > 400
    one.fill("#right-prompt textarea", "a red aple")
    one.click("#right-go")
    assert "did you mean 'apple'?" in until(one, "right-status", "error|evaluations")
    one.fill("#right-prompt textarea", "a red apple")
    one.click("#right-go")
    until(one, "right-status", "evaluations")
    one.fill("#left-seed input", "7")
    one.click("#right-take")
    one.wait_for_function("document.querySelector('#right-seed input').value == '7'")
    assert hosts <= {"127.0.0.1"}


def test_a_mask_is_drawn_and_filled(served, browser):
    page, _ = opened(browser, served)
    page.get_by_role("tab", name=re.compile("^Edit")).first.click()
    page.wait_for_selector("#left-edit-painted canvas")
    page.click("#left-edit-go")
    assert "error: nothing is painted" in until(page, "left-edit-status", "error|evaluations")
    stroke(page, "left-edit")
    page.click("#left-edit-go")
    until(page, "left-edit-status", "evaluations")
    page.wait_for_selector("#left-edit-picture img")


def test_a_sketch_is_drawn_and_followed(served, browser):
    page, _ = opened(browser, served)
    page.get_by_role("tab", name=re.compile("^Sketch")).first.click()
    page.wait_for_selector("#right-sketch-painted canvas")
    page.click("#right-sketch-go")
    assert "error: there is no sketch" in until(page, "right-sketch-status", "error|evaluations")
    stroke(page, "right-sketch")
    page.click("#right-sketch-go")
    until(page, "right-sketch-status", "evaluations")
    page.wait_for_selector("#right-sketch-picture img")


def test_the_slider_shows_what_is_left(served, browser):
    page, _ = opened(browser, served)
    page.get_by_role("tab", name="See what is removed").click()
    page.fill("#see-t input[type=number]", "0.7")
    page.keyboard.press("Tab")
    assert re.search(r"t = 0\.(69|70)", until(page, "see-0-status", "t = "))
    page.click("#see-film")
    page.wait_for_selector("#film-1 img", timeout=120_000)
