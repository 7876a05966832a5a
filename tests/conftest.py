import pytest


def pytest_addoption(parser): parser.addoption("--slow", action="store_true", help="run tests marked slow too")


def pytest_configure(config): config.addinivalue_line("markers", "slow: minutes, or an extra that `make test` does not install; runs with --slow")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"): item.add_marker(pytest.mark.skip(reason="slow: pass --slow"))
