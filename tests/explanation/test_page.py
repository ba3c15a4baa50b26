"""Covers: the HTML page in a real browser: clicks, keys, steps and slider."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.explanation import Recorder

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")


def notes():
    net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    model = bp.Model(net, 2, device="cpu", seed=0)
    return bp.explain(model, [0.05, 0.35], [0.0175, 0.3825], bp.L2Loss(), eta=0.5)


def large():
    net = bp.Sequential(bp.Linear(100), bp.ReLU(), bp.Linear(10))
    model = bp.Model(net, 784, device="cpu", seed=0)
    x = np.random.default_rng(0).uniform(size=784)
    return bp.explain(model, x, 3, bp.CrossEntropy(), eta=0.01)


@pytest.fixture(scope="module")
def browser():
    if not (CHROMIUM and DRIVER):
        pytest.skip("NOT RUN in a browser: Chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--window-size=1300,1400", "--disable-gpu"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser, explanation, path, **settings):
    explanation.to_html(path, **settings)
    browser.get(path.as_uri())
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    return lambda selector: browser.find_element("css selector", selector)


BELOW = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def typeset(text):
    """As a browser gives the text of what is set with sub and sup."""
    return "".join(text.translate(BELOW).split())


def text_of(element):
    return "".join(element.text.split())


def number(element):
    return float(element.text.replace("−", "-"))


def test_clicking_a_weight_writes_out_its_chain_rule(browser, tmp_path):
    explanation = notes()
    find = show(browser, explanation, tmp_path / "notes.html")
    for k, (name, *at) in enumerate([("0.weight", 1, 1), ("0.weight", 1, 2)]):
        browser.execute_script(
            "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))",
            find(f'[data-edge="{k}"] .reach'),
        )
        rule = explanation.weight(name, *at)
        symbols, numbers = (line.partition("=")[2] for line in rule.text.splitlines()[:2])
        assert text_of(find("#symbols")) == typeset(f"={symbols}")
        assert text_of(find("#numbers")) == typeset(f"={numbers}")
        for what in ("value", "computed", "numeric"):
            assert number(find(f"#{what}")) == pytest.approx(getattr(rule, what), rel=1e-8)
        lit = browser.find_elements("css selector", ".edge.path")
        assert len(lit) == 3  # w_ij itself and the two u_jk above it
    assert "(y1−t1)·y1·(1−y1)·u21" in text_of(find("#symbols"))


def test_the_steps_show_forward_errors_gradients_and_update(browser, tmp_path):
    explanation = notes()
    find = show(browser, explanation, tmp_path / "notes.html")
    drawing, steps = find("#drawing"), browser.find_elements("css selector", "#steps button")
    assert [s.text.partition(". ")[2] for s in steps] == [
        "Forward", "Output δ", "Hidden δ", "Gradients", "Update",
    ]  # fmt: skip
    assert "δ =" not in drawing.get_attribute("textContent")
    steps[1].click()
    assert drawing.get_attribute("textContent").count("δ =") == 2
    browser.find_element("css selector", "body").send_keys("\ue014")  # the right arrow key
    assert drawing.get_attribute("textContent").count("δ =") == 5
    steps[3].click()
    assert browser.find_elements("css selector", ".edge.down")
    steps[4].click()
    updated = explanation.layers[0].updated["0.weight"][0, 0]
    assert f"w₁₁ {updated:.4g}".replace("-", "−") in drawing.get_attribute("textContent")


def test_the_slider_goes_through_a_training(browser, tmp_path):
    explanation = notes()
    find = show(browser, explanation, tmp_path / "notes.html")
    slider = find("#time")
    assert find("#when").text == "0 of 60, L = 0.05415"
    assert slider.get_attribute("max") == "60"
    before = number(find("#value"))
    slider.send_keys("\ue010")  # the End key
    assert find("#when").text.startswith("60 of 60, L = 0.00")
    assert number(find("#value")) != before


def test_a_training_of_ones_own_can_be_stepped_through(browser, tmp_path):
    explanation, recorder = notes(), Recorder(frames=5)
    model = bp.Model(explanation.model.net, 2, device="cpu", seed=0)
    bp.fit(model, [[0.05, 0.35]], [[0.0175, 0.3825]], loss=bp.L2Loss(), optimizer=bp.Adam(0.1),
           epochs=16, callbacks=[recorder])  # fmt: skip
    assert recorder.epochs == [0, 4, 8, 12, 16]
    find = show(browser, explanation, tmp_path / "notes.html", recording=recorder)
    assert find("#time").get_attribute("max") == "4"


def test_the_keyboard_alone_is_enough(browser, tmp_path):
    find = show(browser, notes(), tmp_path / "notes.html")
    edge = find('[data-edge="4"]')
    browser.execute_script("arguments[0].focus()", edge)
    browser.switch_to.active_element.send_keys("\ue007")  # Enter
    assert text_of(find("#rule h2")).startswith("∂L/∂w22")
    assert browser.execute_script("return document.activeElement.dataset.edge") == "4"
    button = find('[data-choose="13"]')
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys(" ")
    assert text_of(find("#rule h2")).startswith("∂L/∂b(1)2")
    button = browser.switch_to.active_element
    button.send_keys("\ue015")  # arrow down: the next weight, and the focus goes with it
    assert text_of(find("#rule h2")).startswith("∂L/∂b(1)3")
    assert browser.execute_script("return document.activeElement.dataset.choose") == "14"
    browser.execute_script("arguments[0].focus()", find('[data-edge="0"]'))
    browser.switch_to.active_element.send_keys("\ue013")  # arrow up in the drawing
    assert browser.execute_script("return document.activeElement.dataset.edge") == "11"


def test_large_nets_say_what_they_leave_out(browser, tmp_path):
    explanation = large()
    path = tmp_path / "large.html"
    find = show(browser, explanation, path)
    assert "12 of the 784 of x, 12 of the 100 of h. 79224 weights and bi" in find("#caption").text
    assert len(browser.find_elements("css selector", "#spread svg")) == 2
    find("#time").send_keys("\ue010")  # derivations at every step
    assert number(find("#value")) == pytest.approx(number(find("#numeric")), rel=1e-4, abs=1e-8)
    assert path.stat().st_size < 1_000_000
    assert explanation.largest_difference() < 1e-12


@pytest.mark.parametrize("make", [notes, large])
def test_the_page_needs_no_network(tmp_path, make):
    page = make().to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    urls = set(re.findall(r"https?://[^\s\"']+", page))
    assert urls <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script[^>]+src|@import|url\(", page)


def test_names_that_would_end_the_script_do_not(tmp_path):
    class Odd(bp.Layer):
        pass

    Odd.__name__ = "</script><b>"
    Odd.forward = lambda self, params, x, ctx: (x, lambda delta: (delta, {}))
    model = bp.Model(bp.Sequential(bp.Linear(2), Odd()), 2, device="cpu")
    page = bp.explain(model, [1.0, 2.0], [0.0, 0.0], bp.L2Loss()).to_html()
    assert page.count("</script>") == 2


def test_bad_places_and_recordings_are_told(tmp_path):
    explanation, foreign = notes(), Recorder()
    bp.fit(bp.Model(bp.Linear(1), 2, device="cpu"), [[1.0, 2.0]], [[1.0]], loss=bp.L2Loss(),
           optimizer=bp.SGD(0.1), callbacks=[foreign])  # fmt: skip
    for words, settings in [
        ("expected a file, got the folder", {"path": tmp_path}),
        ("no folder", {"path": tmp_path / "no" / "page.html"}),
        ("expected recorded epochs, got none", {"recording": Recorder()}),
        ("expected a recording of this net", {"recording": foreign}),
        ("expected a Recorder", {"recording": "adam"}),
    ]:
        with pytest.raises(bp.InputError, match=words):
            explanation.to_html(**settings)
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_net_has_a_page(browser, tmp_path):
    blocks = bp.Sequential(
        bp.Standardize(), bp.Linear(4), bp.ReLU(), bp.Residual(bp.Linear(4), bp.Tanh()),
        bp.Dropout(0.5), bp.Linear(3), bp.Softmax(),
    )  # fmt: skip
    nets = {
        "blocks": (blocks, 5),
        "one layer": (bp.Linear(3), 2),
        "block alone": (bp.Residual(bp.Linear(3)), 3),
        "images": (bp.Sequential(bp.Flatten(), bp.Linear(3), bp.GELU()), (2, 2)),
        "no weights": (bp.Sequential(bp.Sigmoid()), 3),
    }
    for name, (net, shape) in nets.items():
        model = bp.Model(net, shape, device="cpu", seed=0)
        x = np.random.default_rng(0).normal(size=model.input_shape)
        explanation = bp.explain(model, x, [1.0, 0.0, 0.0], bp.L2Loss())
        find = show(browser, explanation, tmp_path / f"{name}.html")
        rows = browser.find_elements("css selector", "#weights tbody tr")
        assert len(rows) == sum(g.size for g in explanation.gradients.values()), name
        buttons = browser.find_elements("css selector", "#steps button")
        for button in buttons:
            button.click()
        if rows:  # the last may be inside a block: no line, but a derivation
            browser.execute_script("arguments[0].click()", find("#weights tr:last-child button"))
            assert number(find("#value")) == pytest.approx(number(find("#computed")), rel=1e-8)
        assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_symbols_and_units_lead_to_each_other(browser, tmp_path):
    find = show(browser, notes(), tmp_path / "notes.html")
    point = "arguments[0].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    browser.execute_script(point, find('#symbols [data-symbol="h₁"]'))
    assert find("#drawing .hot").get_attribute("data-unit") == "1.0"
    find('#symbols [data-symbol="u₁₂"]').click()
    assert text_of(find("#rule h2")).startswith("∂L/∂u12")
    browser.execute_script(
        "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))",
        find('[data-unit="1.2"] circle'),
    )
    assert text_of(find("#rule h2")).startswith("∂L/∂b(1)3")  # its δ is the bias's derivative


def test_sign_is_told_by_more_than_colour(browser, tmp_path):
    find = show(browser, notes(), tmp_path / "notes.html")
    browser.find_elements("css selector", "#steps button")[3].click()
    dashes = "return getComputedStyle(arguments[0]).strokeDasharray"
    assert browser.execute_script(dashes, find(".edge.down .seen")) != "none"
    assert browser.execute_script(dashes, find(".edge.up .seen")) == "none"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_page(browser, tmp_path, width):
    for make in (notes, large):
        show(browser, make(), tmp_path / "page.html")
        sizes = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
        out = browser.execute_script("return document.documentElement.scrollWidth")
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert out <= width


def test_notebooks_show_it_by_itself(browser, tmp_path):
    (tmp_path / "cell.html").write_text(f"<meta charset=utf-8>{notes()._repr_html_()}", "utf-8")
    browser.get((tmp_path / "cell.html").as_uri())
    browser.switch_to.frame(browser.find_element("css selector", "iframe[title]"))
    browser.find_element("css selector", '[data-choose="1"]').click()
    assert text_of(browser.find_element("css selector", "#rule h2")).startswith("∂L/∂w12")
    browser.switch_to.default_content()
    assert notes().weight("0.weight", 1, 1)._repr_latex_().startswith("$$\n\\begin{aligned}")


def test_a_step_too_large_to_descend_still_gives_a_page():
    net = bp.Sequential(bp.Linear(3), bp.ReLU(), bp.Linear(2))
    model = bp.Model(net, 2, device="cpu", seed=0)
    page = bp.explain(model, [3.0, 2.0], [1.0, 0.0], bp.L2Loss(), eta=1e30).to_html()
    assert '"epoch":0' in page


@pytest.mark.parametrize("layer", [bp.BatchNorm(), bp.Dropout(0.5)])
def test_the_page_descends_as_in_prediction(layer):
    net = bp.Sequential(bp.Linear(3), layer, bp.Linear(2))
    model = bp.Model(net, 2, device="cpu", dtype="float64", seed=0)
    explanation = bp.explain(model, [3.0, 2.0], [1.0, 0.0], bp.L2Loss(), eta=0.01)
    updated = explanation.weight("0.weight", 2, 1).updated
    page = explanation.to_html()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    at = [weight["parameter"] for weight in data["weights"]].index(["0.weight", 2, 1])
    assert data["frames"][1]["weights"][at] == pytest.approx(updated, rel=1e-4)


def test_a_digit_is_shown_as_an_image_with_its_classes(browser, tmp_path):
    net = bp.Sequential(bp.Linear(16), bp.ReLU(), bp.Linear(10))
    model = bp.Model(net, 64, device="cpu", seed=0)
    x = np.random.default_rng(0).uniform(size=64)
    e = bp.explain(model, x, 3, bp.CrossEntropy(), class_names=range(10), image_shape=(8, 8))
    find = show(browser, e, tmp_path / "digit.html")
    assert find("#images canvas").get_attribute("width") == "8"
    assert len(browser.find_elements("css selector", "#images figure")) == 1 + 1 + 12
    assert "target 3, largest output" in find("#images figcaption").text
    assert find('[data-unit="2.3"]').text.splitlines()[-2] == "y₄: 3"


def test_a_film_of_a_training_needs_no_guessing(tmp_path):
    explanation, recorder = notes(), Recorder(frames=5)
    model = bp.Model(explanation.model.net, 2, device="cpu", seed=0)
    bp.fit(model, [[0.05, 0.35]], [[0.0175, 0.3825]], loss=bp.L2Loss(), optimizer=bp.Adam(0.1),
           epochs=30, callbacks=[recorder])  # fmt: skip
    assert recorder.epochs == [0, 8, 16, 24, 30]  # the last one too
    np.testing.assert_array_equal(recorder.parameters[-1]["0.bias"], model.parameters["0.bias"])
    page = explanation.to_html(tmp_path / "film.html", recorder)
    assert "a training run of 30 epochs" in page
    for guess in ("recorder", "training"):
        with pytest.raises(bp.InputError, match="pass a Recorder as recording="):
            explanation.to_html(**{guess: recorder})
    with pytest.raises(bp.InputError, match="write recording="):
        explanation.to_html(recorder)


def test_the_last_epoch_is_kept_whatever_ends_the_training():
    recorder, model = Recorder(frames=3), bp.Model(bp.Linear(1), 1, device="cpu", seed=0)
    x, t, loss = [[0.0], [1.0]], [[1.0], [3.0]], bp.L2Loss()
    stopping = bp.EarlyStopping(patience=2, monitor="loss")
    history = bp.fit(model, x, t, loss=loss, optimizer=bp.SGD(1.9), epochs=50,
                     callbacks=[stopping, recorder])  # fmt: skip
    assert history.epochs < 50
    assert recorder.epochs[-1] == history.epochs and len(recorder.epochs) <= 3
