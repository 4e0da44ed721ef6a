"""Settings of every test."""

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("repository", deadline=None)
settings.load_profile("repository")


def pytest_terminal_summary(terminalreporter):
    """Say how many cases the tests tried that count them (hostile inputs, kills survived)."""
    counted: dict[str, int] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, count in report.user_properties:
            counted[name] = counted.get(name, 0) + count
    for name, count in counted.items():
        terminalreporter.write_line(f"{name}: {count}")
