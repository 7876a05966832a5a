import pytest


def pytest_addoption(parser): parser.addoption("--slow", action="store_true", help="run tests marked slow too")


def pytest_configure(config):
    meaning = "minutes, or an extra that `make test` does not install; runs with --slow"
    config.addinivalue_line("markers", f"slow: {meaning}")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"): return
    for item in items:
        if "slow" in item.keywords: item.add_marker(pytest.mark.skip(reason="slow: pass --slow"))
