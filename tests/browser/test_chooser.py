"""The page to choose a network with, in a real browser."""

import json
import re

import pytest
from chromium import browser, needs_chromium, opened
from made_results import DESCRIBED, make

from hamp.choice import choose
from hamp.report.chooser import chooser_page
from hamp.results import Results

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "results" / "made"
    make(folder)
    return Results(folder)


@pytest.fixture(scope="module")
def address(results):
    file = results.folder / "report" / "front.html"
    file.parent.mkdir()
    file.write_text(chooser_page(results))
    return file.as_uri()


@pytest.fixture(scope="module")
def rows(results):
    return results.front.to_pylist()


@pytest.fixture(scope="module")
def running():
    with browser() as started:
        yield started


@pytest.fixture
def page(running, address):
    with opened(running, address) as shown:
        yield shown


def chosen(page):
    return page.locator("#details h2").inner_text()


@pytest.mark.parametrize("prefer", ["accuracy", "latency", "memory", "knee"])
def test_buttons_choose_by_the_rule(page, rows, prefer):
    page.locator(f"[name=prefer][value={prefer}] + span").click()
    assert chosen(page) == choose(rows, {}, prefer).network["candidate"]
    assert f"prefer={prefer}" in page.url


def test_limits_can_be_typed(page, rows):
    page.fill("#latency", "3.5")
    page.fill("#memory", "0.7")
    limits = {"latency_ms": 3.5, "memory_bytes": 0.7 * 1e6}
    wanted = choose(rows, limits, "knee")
    assert wanted.fits
    assert wanted.allowed < len(rows)
    assert chosen(page) == wanted.network["candidate"]
    assert f"{wanted.allowed} of {len(rows)} networks are within the limits" in page.inner_text("#status")
    outside = len(rows) - wanted.allowed
    assert page.locator("#scatter .option.out").count() == outside
    assert page.locator("#parallel .line.out").count() == outside
    assert page.locator("#table tr.out").count() == outside
    assert page.locator("#scatter [aria-label$='outside the limits']").count() == outside
    assert page.locator("#table [aria-current=true]").get_attribute("data-candidate") == chosen(page)


def test_sliders_set_limits(page, rows):
    slider = page.locator("[data-limit=latency]")
    slider.fill("300")
    limit = float(page.input_value("#latency"))
    values = [row["latency_ms"] for row in rows]
    assert limit == pytest.approx(min(values) + 0.3 * (max(values) - min(values)), rel=1e-3)
    assert chosen(page) == choose(rows, {"latency_ms": limit}, "knee").network["candidate"]
    slider.fill("1000")
    assert page.input_value("#latency") == ""
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#latency") != ""
    page.click("#reset")
    assert page.input_value("#latency") == ""
    assert "latency" not in page.url.partition("#")[2]


def test_nothing_fits_names_the_nearest(page, rows):
    page.fill("#latency", "0.1")
    wanted = choose(rows, {"latency_ms": 0.1}, "knee")
    assert not wanted.fits
    status = page.inner_text("#status")
    assert status.startswith(f"Nothing fits. The nearest is {wanted.network['candidate']}:")
    over = float(re.search(r"([\d.]+) ms over the limit in latency", status)[1])
    assert over == pytest.approx(wanted.excess["latency_ms"], rel=0.01)


def test_a_click_shows_a_network(page, rows):
    row = rows[-2]
    page.locator(f"#scatter [data-candidate='{row['candidate']}'] .halo").click()
    assert chosen(page) == row["candidate"]
    text = page.inner_text("#details")
    assert f"hamp export {row['candidate']} --results" in text
    assert f"{100 * row['error_test']:.2f}\u00a0%" in text
    assert row["onnx"] in text
    assert "picked by you" in text
    for width in row["widths"]:
        assert f"{width} / " in text
    page.locator(f"#table [data-candidate='{rows[0]['candidate']}'] button").click()
    assert chosen(page) == rows[0]["candidate"]


def test_the_address_holds_what_was_chosen(page, rows, running):
    page.locator("[name=prefer][value=memory] + span").click()
    page.fill("#error", "40")
    page.locator(f"#table [data-candidate='{rows[3]['candidate']}'] button").click()
    with opened(running, page.url) as again:
        assert chosen(again) == rows[3]["candidate"]
        assert again.input_value("#error") == "40"
        assert again.locator("[name=prefer]:checked").get_attribute("value") == "memory"
        assert again.inner_text("#status") == page.inner_text("#status")


def test_addresses_of_no_sense_are_the_start(running, address, rows):
    for text in ("x", "0,001", "1x", ""):
        with opened(running, f"{address}#prefer=__proto__&latency={text}&network=zz") as page:
            assert chosen(page) == choose(rows, {}, "knee").network["candidate"]


@pytest.mark.parametrize("percent", [7.14, 9.52, 0.94])
def test_a_limit_typed_as_a_networks_error_includes_it(running, tmp_path, results, percent):
    """7.14 / 100 is less than 0.0714 in double precision, as is one in seven such errors."""
    name = results.front["candidate"][0].as_py()
    error = round(percent / 100, 4)
    assert percent / 100 < error

    def changed(match):
        data = json.loads(match[1])
        for network in data["networks"]:
            network["error_validation"] = error if network["candidate"] == name else 0.5
        return match[0].replace(match[1], json.dumps(data))

    (tmp_path / "front.html").write_text(re.sub(r'id="data">(.*?)</script>', changed, chooser_page(results)))
    with opened(running, f"{(tmp_path / 'front.html').as_uri()}#error={percent}") as page:
        assert chosen(page) == name
        assert "Nothing fits" not in page.inner_text("body")


def test_it_works_by_keyboard(page, rows):
    names = [row["candidate"] for row in rows]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "prefer"
    page.keyboard.press("ArrowLeft")
    before = chosen(page)
    assert before == choose(rows, {}, "memory").network["candidate"]
    page.locator(f"#scatter [data-candidate='{before}']").focus()
    for key, step in {"Home": 0, "ArrowRight": 1, "End": len(names) - 1, "ArrowLeft": len(names) - 2}.items():
        page.keyboard.press(key)
        assert chosen(page) == names[step]
        assert page.evaluate("document.activeElement.dataset.candidate") == names[step]
    assert page.locator("#scatter [tabindex='0']").count() == 1


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen(running, address, width, scheme):
    with opened(running, address, width=width, height=800, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(map(int, re.findall(r"\d+", paper)))
        assert (bright > 600) == (scheme == "light")
        for box in page.locator(".slider").all():
            parts = [part.bounding_box() for part in box.locator("label, .field").all()]
            assert parts[0]["x"] + parts[0]["width"] <= parts[1]["x"] + 1


def test_print_leaves_out_what_cannot_be_used_on_paper(page):
    page.emulate_media(media="print")
    assert not page.locator("#controls").is_visible()
    assert page.locator("#details").is_visible()
    assert page.locator("#table").is_visible()


def test_everything_evaluated_can_be_shown(page, results):
    ink = "document.querySelector('#scatter canvas').getContext('2d').getImageData(0, 0, 2000, 600).data.some((v) => v)"
    assert not page.evaluate(ink)
    page.check("#everything")
    assert page.evaluate(ink)
    total = sum(map(len, results.archives.values()))
    assert f"everything evaluated ({total}" in page.inner_text(".toggle")


def test_a_described_device_is_predicted_and_never_called_measured(running, tmp_path):
    make(tmp_path / "made", **DESCRIBED)
    (tmp_path / "front.html").write_text(chooser_page(Results(tmp_path / "made")))
    with opened(running, (tmp_path / "front.html").as_uri()) as page:
        text = page.inner_text("body")
        assert "Latency, predicted" in text
        told = re.sub("not measured|nothing was measured", "", text)
        assert "measured" not in told
        assert "interleaved" not in told


def test_slower_networks_are_called_so(running, tmp_path, results):
    """Two rows changed: one slower beyond the noise, one within it."""
    rows = results.front.to_pylist()
    slow, alike = rows[-1]["candidate"], rows[-2]["candidate"]

    def changed(match):
        data = json.loads(match[1])
        for network in data["networks"]:
            factor = {slow: 1.5, alike: 1.001}.get(network["candidate"])
            if factor:
                network |= {"latency_ms": factor * network["baseline_latency_ms"], "faster": False}
        return match[0].replace(match[1], json.dumps(data))

    text = re.sub(r'id="data">(.*?)</script>', changed, chooser_page(results))
    (tmp_path / "front.html").write_text(text)
    with opened(running, f"{(tmp_path / 'front.html').as_uri()}#network={slow}") as page:
        assert "slower than the unpruned network" in page.inner_text(".badges")
        told = {name: page.inner_text(f"#table [data-candidate='{name}']") for name in (slow, alike)}
        assert "(slower)" in told[slow]
        assert "(tie)" in told[alike]


def test_five_thousand_points_do_not_slow_it_down(running, tmp_path):
    make(tmp_path / "made", generations=9, size=500, members=40)
    file = tmp_path / "front.html"
    file.write_text(chooser_page(Results(tmp_path / "made")))
    with opened(running, file.as_uri()) as page:
        page.check("#everything")
        spent = page.evaluate(
            """() => {
                const field = document.querySelector("[data-limit=latency]");
                const begun = performance.now();
                for (let value = 100; value < 900; value += 8) {
                    field.value = value;
                    field.dispatchEvent(new Event("input"));
                    document.body.getBoundingClientRect();
                }
                return (performance.now() - begun) / 100;
            }"""
        )
        assert spent < 50, f"{spent:.1f} ms for one move of a slider"


def test_a_name_of_markup_is_text(running, tmp_path):
    make(tmp_path / "made")
    text = chooser_page(Results(tmp_path / "made")).replace('"layer1.0.conv1"', '"\\u003cimg src=x onerror=alert(1)>"')
    (tmp_path / "front.html").write_text(text)
    with opened(running, (tmp_path / "front.html").as_uri()) as page:
        assert page.locator("img").count() == 0
        assert "<img" in page.inner_text("#details")
